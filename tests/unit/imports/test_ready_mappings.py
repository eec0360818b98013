"""Exports of other tools through the mappings that are ready: events, pages, values as an independent reader has them.

Sessions and campaigns are held against the rows of a whole import in tests/integration/imports.
"""

import json
from datetime import datetime
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.fixtures.kafka import PROJECT_DIR
from tests.foreign_exports import ga4, matomo, posthog, segment
from tests.foreign_exports.history import Expected, new_history
from topics.codec import decode_source
from tracker.imports.coverage import Coverage
from tracker.imports.mapping import read_mapping
from tracker.imports.records import Import, Rejects, records
from tracker.imports.rows import RowMapper

HISTORY = new_history(seed=4, acts=1_500)
WINDOW_ROWS = 10_000


def imported(name: str, path: Path) -> tuple[list[Expected], Coverage, list[str]]:
    """The events of a file, what the mapping found, and the first rejects."""
    mapper = RowMapper(read_mapping(name))
    with Rejects(None) as rejects:
        found = [
            event(json.loads(record.value))
            for record in records(Import("x", [str(path)], None, mapper, WINDOW_ROWS), rejects)
            if decode_source(record.key, record.value)
        ]
    return found, mapper.coverage, rejects.first


def event(record: dict) -> Expected:
    data = record["data"]
    metadata = json.loads(data["metadata"])
    return Expected(
        key=record["session_id"],
        at_ms=round(datetime.fromisoformat(record["timestamp"]).timestamp() * 1_000),
        event_type=data["event_type"],
        page_url=data.get("page_url", ""),
        value=float(data.get("event_value", 0)),
        currency=data.get("event_value_type", ""),
        name=metadata.get("event", metadata.get("type", "")),
        is_passive=record.get("passive", False),
    )


TOOLS = {"ga4": ga4, "segment": segment, "posthog": posthog, "matomo": matomo}
#: What a mapping leaves out, because it is nothing that a visitor did.
LEFT_OUT = {
    "ga4": {"event_type first_visit", "event_type session_start"},
    "segment": {"event_type identify"},
    "posthog": set(),
    "matomo": {"event_type content"},
}


@pytest.mark.parametrize("name", TOOLS)
def test_an_export_is_imported_whole(name: str, tmp_path: Path) -> None:
    path = TOOLS[name].write(HISTORY, tmp_path)
    wanted = TOOLS[name].read(path)
    found, coverage, rejected = imported(name, path)
    assert not rejected
    assert len(wanted) > 1_200
    assert sorted(found) == sorted(wanted)
    assert set(coverage.dropped) == LEFT_OUT[name]


@pytest.mark.parametrize("path", sorted((PROJECT_DIR / "examples" / "imports").iterdir()), ids=lambda path: path.stem)
def test_the_example_of_each_tool_is_imported_whole(path: Path) -> None:
    found, coverage, rejected = imported(path.stem, path)
    assert not rejected
    assert {"pageview", "click", "conversion"} <= {each.event_type for each in found}
    assert set(coverage.dropped) <= LEFT_OUT[path.stem]


@pytest.mark.parametrize("name", ["ga4", "posthog"])
def test_parquet_gives_the_same_events_as_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    if name == "ga4":
        table = pyarrow.Table.from_pylist(ga4.rows(HISTORY, writes_integers_as_text=False))
        parquet.write_table(table, path)
    else:
        path = posthog.write_parquet(HISTORY, tmp_path)
    found, _, rejected = imported(name, path)
    assert not rejected
    assert sorted(found) == sorted(TOOLS[name].read(TOOLS[name].write(HISTORY, tmp_path)))


def test_names_of_ones_own_are_counted_and_kept_in_the_metadata(tmp_path: Path) -> None:
    _, coverage, _ = imported("posthog", posthog.write(HISTORY, tmp_path))
    own = [act.name for act in HISTORY if act.kind == "custom"]
    assert coverage.defaulted["event_type plan_upgraded"] == own.count("plan_upgraded") > 50


def test_rows_of_visitors_who_have_not_consented_are_rejected_with_a_reason(tmp_path: Path) -> None:
    rows = ga4.rows(HISTORY[:50], writes_integers_as_text=True)
    asked = [{**row, "user_pseudo_id": None} for row in rows[:7]] + rows[7:]
    path = tmp_path / "ga4.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    _, coverage, rejected = imported("ga4", path)
    assert "session_id: missing" in rejected[0]
    assert coverage.filled["session_id"] > 0


def test_nothing_personal_that_live_would_not_keep_gets_into_an_event(tmp_path: Path) -> None:
    for name, tool in TOOLS.items():
        mapper = RowMapper(read_mapping(name))
        with Rejects(None) as rejects:
            what = Import("x", [str(tool.write(HISTORY[:200], tmp_path))], None, mapper, WINDOW_ROWS)
            values = b"".join(record.value for record in records(what, rejects))
        assert b"203.0.113" not in values
        assert b"ada@example.com" not in values
