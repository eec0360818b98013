"""A schema that is begun from an example: what it takes, and what an example can't tell."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from topics.schemas import SchemaId, Schemas
from tracker.cli.app import app
from tracker.errors import ConfigurationError
from tracker.schemas.first_schema import first_schema

ID = SchemaId("purchase", "1-0-0")


def properties_of(example: Any) -> Any:
    return first_schema("purchase", example)["properties"]


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (True, {"type": "boolean"}),
        (1, {"type": "integer"}),
        (1.0, {"type": "number"}),
        ("a", {"type": "string"}),
        ("2026-11-28T10:00:00Z", {"type": "string", "format": "date-time"}),
        ("2026-11-28", {"type": "string", "format": "date"}),
        ("0198f2c4-5a00-7000-8000-000000000001", {"type": "string", "format": "uuid"}),
        ("a@b.example", {"type": "string", "format": "email"}),
        ("https://a.example/b", {"type": "string", "format": "uri"}),
        ("sku:1", {"type": "string"}),
        ([1, 2], {"type": "array", "items": {"type": "integer"}}),
        ([1, 2.5], {"type": "array", "items": {"type": "number"}}),
        (["a", "2026-11-28"], {"type": "array", "items": {"type": "string"}}),
        (["2026-11-27", "2026-11-28"], {"type": "array", "items": {"type": "string", "format": "date"}}),
        ([[1], [2.5]], {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
    ],
)
def test_a_property_has_the_type_and_the_format_of_its_value(value: Any, schema: dict[str, Any]) -> None:
    assert properties_of({"a": value}) == {"a": schema}


def test_each_property_is_required_and_there_are_no_others() -> None:
    schema = first_schema("purchase", {"event_type": "purchase", "properties": {"b": 1, "a": {"c": 2}}})
    assert schema["$schema"].endswith("2020-12/schema")
    assert (schema["required"], schema["additionalProperties"]) == (["b", "a"], False)
    inner = {
        "type": "object",
        "properties": {"c": {"type": "integer"}},
        "required": ["c"],
        "additionalProperties": False,
    }
    assert schema["properties"] == {"b": {"type": "integer"}, "a": inner}


def test_a_property_is_required_that_all_items_have() -> None:
    items = properties_of({"items": [{"sku": "a", "n": 1}, {"n": 2.5, "size": 3, "sku": "b"}]})["items"]["items"]
    assert items["properties"] == {"sku": {"type": "string"}, "n": {"type": "number"}, "size": {"type": "integer"}}
    assert items["required"] == ["sku", "n"]


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ([1], "the example must be an event with properties"),
        ({"a": {"b": None}}, "properties.a.b: null has no type"),
        ({"a": []}, "properties.a: an empty list does not tell"),
        ({"a": [{"b": [None]}]}, "properties.a.0.b.0: null has no type"),
        ({"a": [1, "x"]}, "properties.a: has items of different types, integer and string"),
        ({"a": [{"b": 1}, {"b": "x"}]}, "properties.a.b: has items of different types"),
        ({"a b": 1}, "letters, digits and _"),
        ({"a": {"b": {"c": {"d": {}}}}}, "nested deeper than"),
    ],
)
def test_what_an_example_can_not_tell_is_an_error_with_its_place(example: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        first_schema("purchase", example)
    assert problem in str(caught.value)


scalars = (
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | st.text(max_size=5) | st.dates().map(str)
)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}", fullmatch=True)
values = scalars | st.dictionaries(names, scalars, max_size=3)


@given(
    st.dictionaries(names, values | st.lists(st.integers() | st.floats(-1e9, 1e9), min_size=1, max_size=3), max_size=4)
)
def test_the_example_fits_its_schema(properties: dict[str, Any]) -> None:
    example = {"event_type": "purchase", "properties": properties}
    assert Schemas({ID: first_schema("purchase", example)}).faults(ID, properties) == []


# The command


def new(folder: Path, name: str, example: Any) -> tuple[int, str]:
    (path := folder / "example.json").write_text(json.dumps(example))
    done = CliRunner().invoke(app, ["schemas", "new", name, "--from", str(path), "--dir", str(folder / "schemas")])
    return done.exit_code, done.output


def test_the_command_writes_a_first_version_that_holds(tmp_path: Path) -> None:
    code, output = new(tmp_path, "purchase", {"order_id": "o-1", "total": 49.9})
    path = tmp_path / "schemas" / "purchase" / "1-0-0.json"
    assert (code, output.startswith(f"{path}: ")) == (0, True)
    assert json.loads(path.read_text()) == first_schema("purchase", {"order_id": "o-1", "total": 49.9})
    assert CliRunner().invoke(app, ["schemas", "check", "--dir", str(tmp_path / "schemas")]).exit_code == 0


def test_a_type_that_has_a_schema_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "schemas" / "purchase" / "2-0-0.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert new(tmp_path, "purchase", {"a": 1})[0] == 1
    assert [each.name for each in path.parent.iterdir()] == ["2-0-0.json"]


@pytest.mark.parametrize("name", ["click", "Purchase", "../purchase"])
def test_a_name_that_can_not_be_used_writes_nothing(tmp_path: Path, name: str) -> None:
    assert new(tmp_path, name, {"a": 1})[0] == 1
    assert not (tmp_path / "schemas").exists()
