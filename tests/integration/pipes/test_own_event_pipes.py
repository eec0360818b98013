"""The pipe that is made for an event type, on a real ClickHouse: each property is a column of its type."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird, running_tinybird
from tests.integration.pipes.conftest import asking
from topics.metadata import canonical
from topics.schemas import SchemaId, Schemas
from tracker.schemas.build import write

TEXT = {"type": "string"}
FIRST = {
    "type": "object",
    "properties": {
        "order_id": TEXT,
        "total": {"type": "integer"},
        "paid_at": {"type": "string", "format": "date-time"},
        "due": {"type": "string", "format": "date"},
        "is_gift": {"type": "boolean"},
        "tags": {"type": "array", "items": TEXT},
        "ship_to": {"type": "object", "properties": {"city": TEXT, "floor": {"type": "integer"}}},
        "items": {
            "type": "array",
            "items": {"type": "object", "properties": {"sku": TEXT, "from": {"type": "number"}}},
        },
        "size": TEXT,
        "user_id": TEXT,
        "from": TEXT,
    },
}
SECOND = {
    "type": "object",
    "properties": {**FIRST["properties"], "total": {"type": "number"}, "size": {"type": "integer"}},
}

WHOLE = {
    "order_id": 'o-1 "é" \\ \'',
    "total": 7,
    "paid_at": "2026-11-28T11:00:00.250+01:00",
    "due": "2026-12-24",
    "is_gift": False,
    "tags": ["a", "b"],
    "ship_to": {"city": "Bern", "floor": 3},
    "items": [{"sku": "x", "from": 1.5}, {"sku": "y"}],
    "size": "XL",
    "user_id": "buyer",
    "from": "mail",
    "further": 1,
}


@pytest.fixture(scope="module")
def tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    """A local Tinybird with the project's pipes and those of an own type."""
    project = tmp_path_factory.mktemp("project") / "tinybird"
    shutil.copytree(PROJECT_DIR / "tinybird", project)
    write(Schemas({SchemaId("purchase", "1-0-0"): FIRST, SchemaId("purchase", "2-0-0"): SECOND}), project)
    data = tmp_path_factory.mktemp("own-pipes")
    with running_tinybird(data, TRACKER_TINYBIRD_PROJECT_DIR=str(project)) as tinybird:
        yield tinybird


def row(number: int, **changes: Any) -> dict[str, Any]:
    sample = json.loads((PROJECT_DIR / "tinybird" / "fixtures" / "events_v1.ndjson").read_text().splitlines()[0])
    return {
        **sample, "workspace_id": "shop", "session_id": "own", "session_event_sequence": number, "id": f"own-{number}",
        "event_type": "purchase", "timestamp": f"2026-11-28T10:00:0{number}.000Z", "user_id": "visitor", **changes,
    }  # fmt: skip


def test_each_property_is_a_column_and_no_event_is_shown_twice(tinybird: LocalTinybird) -> None:
    rows = [
        row(1, metadata=canonical(WHOLE)),
        row(2, metadata=canonical({"total": 49.9, "size": 5})),
        row(3, metadata=None),
        row(4, event_type="click", metadata="{}"),
        row(5, workspace_id="other", metadata="{}"),
    ]
    for _ in range(2):
        body = "\n".join(map(json.dumps, rows)).encode()
        assert tinybird.append("events_v1", body).json == {"successful_rows": 5, "quarantined_rows": 0}
    ask = asking(tinybird, workspace_id="shop")
    first, second, third = ask("event_purchase")
    assert {name: first[name] for name in WHOLE if name not in {"user_id", "further"}} == {
        **{name: value for name, value in WHOLE.items() if name not in {"user_id", "further"}},
        "paid_at": "2026-11-28 10:00:00.250",
        "items": [{"sku": "x", "from": 1.5}, {"sku": "y", "from": None}],
    }
    assert (first["user_id"], first["property_user_id"]) == ("visitor", "buyer")
    assert json.loads(first["metadata"]) == WHOLE
    assert (second["total"], second["size"], second["tags"]) == (49.9, "5", [])
    assert (third["order_id"], third["is_gift"], third["metadata"]) == (None, None, None)
    assert [each["session_event_sequence"] for each in ask("event_purchase", session_id="own", limit="2")] == [1, 2]
    assert ask("event_purchase", session_id="none") == []
    assert len(ask("event_purchase", date_from="2026-11-28 10:00:02", date_to="2026-11-28 10:00:03")) == 1
