"""Events of the user's own types from files: by their own columns, and out of other tools' exports by a mapping."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from tests.fixtures.kafka import PROJECT_DIR
from topics.schemas import NO_SCHEMAS, Schemas
from tracker.cli.app import app
from tracker.errors import ConfigurationError
from tracker.imports.mapping import ColumnMapping, read_mapping
from tracker.imports.records import Import, Rejects, records
from tracker.imports.rows import RowMapper
from tracker.schemas.files import read_schemas

SCHEMAS = read_schemas(PROJECT_DIR / "examples" / "schemas")
AT = "2026-11-28T10:00:00Z"
ROW = {"session_id": "s", "timestamp": AT, "event_type": "purchase", "schema": "1-0-0"}
PROPERTIES = {"order_id": "o-1", "total": 49.9}


def imported(
    rows: list[dict[str, Any]], folder: Path, mapping: ColumnMapping | None = None, schemas: Schemas = SCHEMAS
) -> tuple[list[Any], list[str]]:
    """The records, and the reasons of rejects."""
    (path := folder / "rows.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Rejects(None) as rejects:
        what = Import("x", [str(path)], None, RowMapper(mapping or ColumnMapping()), 1_000, schemas)
        found = [orjson.loads(record.value) for record in records(what, rejects)]
    return found, rejects.first


def test_a_row_names_its_schema_and_has_its_properties(tmp_path: Path) -> None:
    rows = [{**ROW, "properties": PROPERTIES}, {**ROW, "properties": json.dumps(PROPERTIES)}]
    found, rejected = imported([*rows, {"session_id": "s", "timestamp": AT, "event_type": "click"}], tmp_path)
    assert rejected == []
    assert [(each.get("schema"), each["data"].get("properties")) for each in found] == [
        ("1-0-0", PROPERTIES), ("1-0-0", PROPERTIES), (None, None)
    ]  # fmt: skip
    assert found[0]["data"]["event_type"] == "purchase"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"properties": {"order_id": "o-1"}}, 'purchase 1-0-0: properties: "total" is a required property'),
        ({"properties": {**PROPERTIES, "total": "49.9"}}, "purchase 1-0-0: properties.total: "),
        ({"properties": PROPERTIES, "schema": "7-0-0"}, "purchase has no version 7-0-0"),
        ({"properties": PROPERTIES, "event_type": "refund"}, "there is no schema of the event type refund"),
        ({"properties": PROPERTIES, "schema": None}, "event_type"),
        ({"properties": "o-1"}, "properties: is of the type str, and must be an object"),
        ({"properties": PROPERTIES, "metadata": "x"}, "metadata"),
        ({}, "properties"),
    ],
)
def test_a_row_that_does_not_fit_is_a_reject_with_its_reason(tmp_path: Path, changes: dict, reason: str) -> None:
    found, (rejected,) = imported([{**ROW, **changes}], tmp_path)
    assert found == []
    assert rejected.startswith(f"{tmp_path}/rows.ndjson:1: ")
    assert reason in rejected


def test_without_schemas_no_own_event_is_imported(tmp_path: Path) -> None:
    _, (rejected,) = imported([{**ROW, "properties": PROPERTIES}], tmp_path, schemas=NO_SCHEMAS)
    assert "there is no schema of the event type purchase" in rejected


MESSAGES = [
    {"type": "track", "event": "Order Paid", "properties": {**PROPERTIES, "coupon": "SPRING"}},
    {"type": "track", "event": "Wish Listed", "properties": {"sku": "a"}},
    {"type": "page", "properties": {"url": "https://shop.example/a"}},
]
SHOP = """
extends = "segment"
[columns]
properties = "properties"
[values.event_type]
"Order Paid" = "purchase"
[schemas]
purchase = "1-1-0"
"""


def test_a_mapping_makes_own_events_of_another_tools_export_and_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    rows = [{"anonymousId": "v", "messageId": f"m{n}", "timestamp": AT, **each} for n, each in enumerate(MESSAGES)]
    (path := tmp_path / "shop.toml").write_text(SHOP)
    found, rejected = imported(rows, tmp_path, read_mapping(str(path)))
    assert rejected == []
    before, _ = imported(rows, tmp_path, read_mapping("segment"))
    own = found[0]
    assert (own["schema"], own["data"]["event_type"]) == ("1-1-0", "purchase")
    assert own["data"]["properties"] == {**PROPERTIES, "coupon": "SPRING"}
    assert own["data"]["event_value"] == "49.9"
    assert "metadata" not in own["data"]
    assert found[1:] == before[1:]


def test_properties_may_be_a_list_of_keys_and_values_as_in_ga4(tmp_path: Path) -> None:
    mapping = ColumnMapping(
        columns={name: name for name in ("session_id", "timestamp", "event_type")} | {"properties": "event_params"},
        schemas={"purchase": "1-0-0"},
    )
    typed = [
        {"key": "order_id", "value": {"string_value": "o-1"}},
        {"key": "total", "value": {"string_value": None, "double_value": 49.9}},
    ]
    row = {"session_id": "s", "timestamp": AT, "event_type": "purchase", "event_params": typed}
    (own,), rejected = imported([row], tmp_path, mapping)
    assert rejected == []
    assert own["data"]["properties"] == PROPERTIES


def test_a_mapping_with_schemas_names_the_column_of_properties(tmp_path: Path) -> None:
    (path := tmp_path / "shop.toml").write_text('[schemas]\npurchase = "1-0-0"\n')
    with pytest.raises(ConfigurationError, match="needs the column of properties"):
        read_mapping(str(path))


def test_a_name_with_a_schema_is_taken_where_unknown_names_become_something_else(tmp_path: Path) -> None:
    mapping = ColumnMapping(
        columns={"event_type": "name", "properties": "about", "session_id": "session_id", "timestamp": "timestamp"},
        schemas={"purchase": "1-0-0"},
        otherwise={"event_type": {"default": "click"}},
    )
    row = {"session_id": "s", "timestamp": AT, "about": PROPERTIES}
    found, rejected = imported([{**row, "name": "purchase"}, {**row, "name": "wish"}], tmp_path, mapping)
    assert rejected == []
    assert [each["data"]["event_type"] for each in found] == ["purchase", "click"]
    assert "properties" not in found[1]["data"]


def test_the_command_judges_by_the_folder_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "rows.ndjson").write_text(json.dumps({**ROW, "properties": PROPERTIES}) + "\n")
    command = ["import", "--name", "x", "--dry-run", str(path)]
    assert CliRunner().invoke(app, command).exit_code == 3
    monkeypatch.setenv("TRACKER_SCHEMAS_DIR", str(PROJECT_DIR / "examples" / "schemas"))
    assert CliRunner().invoke(app, command).exit_code == 0
