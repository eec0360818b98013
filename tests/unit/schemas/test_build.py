"""What is made of schemas: columns, types for the clients, parts of the documents; always the same."""

import gzip
import json
import py_compile
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from typer.testing import CliRunner

from tests.fixtures.kafka import PROJECT_DIR
from topics.asyncapi import document as asyncapi_document
from topics.event import EventData
from topics.schemas import SchemaId, Schemas
from tracker.cli.app import app
from tracker.collect.api.openapi.document import document as openapi_document
from tracker.errors import ConfigurationError
from tracker.schemas.build import files
from tracker.schemas.columns import both, column_names, pipe
from tracker.schemas.files import read_schemas
from tracker.schemas.python_types import python_module
from tracker.schemas.typescript import typescript_module

ASYNCAPI_SCHEMA = PROJECT_DIR / "tests" / "unit" / "topics" / "asyncapi-3.0.0.schema.json.gz"
EXAMPLES = PROJECT_DIR / "examples"
MADE = EXAMPLES / "own-events"
COMMITTED, PARTS = ("pipes/event_purchase.pipe", "own_events.py", "own_events.ts"), ("asyncapi.json", "openapi.json")
TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
TIME, DAY = {"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}
OF_TEXT = "JSONExtract(ifNull(metadata, ''), 'a', 'Nullable(String)')"


def of(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def purchase(**properties: Any) -> dict[SchemaId, Any]:
    return {SchemaId("purchase", "1-0-0"): of(**properties)}


def build(out: Path, folder: Path = EXAMPLES / "schemas") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["schemas", "build", "--dir", str(folder), "--out", str(out)])
    return done.exit_code, done.output


def test_the_committed_examples_are_what_the_command_makes(tmp_path: Path) -> None:
    """The parts of the documents are not committed: they have the words of the records' own types."""
    code, output = build(tmp_path)
    assert (code, output.splitlines()) == (0, [str(tmp_path / name) for name in (*COMMITTED, *PARTS)])
    for name in COMMITTED:
        assert (tmp_path / name).read_text() == (MADE / name).read_text()
    assert {str(path.relative_to(MADE)) for path in MADE.rglob("*.*")} == set(COMMITTED)


def test_the_order_in_which_schemas_are_read_changes_nothing() -> None:
    documents = {
        SchemaId(name, f"1-{n}-0"): of(**{f"p{n}": TEXT}) for name in ("refund", "purchase") for n in (10, 9, 2)
    }
    assert files(Schemas(documents)) == files(Schemas(dict(reversed(documents.items()))))
    assert "VERSIONS" in (types := files(Schemas(documents))["own_events.ts"])
    assert types.count('"1-10-0"') == 2  # the newest is not the one that is last by its letters


def test_a_folder_without_schemas_and_a_place_that_can_not_be_written_are_errors(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    assert build(tmp_path / "out", empty)[0] == 1
    (taken := tmp_path / "file").write_text("")
    assert build(taken)[0] == 1
    with pytest.raises(ConfigurationError, match="there is no schema"):
        files(Schemas())


# The columns of a pipe


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TEXT, f"{OF_TEXT} AS `a`"),
        (INTEGER, "JSONExtract(ifNull(metadata, ''), 'a', 'Nullable(Int64)') AS `a`"),
        (NUMBER, "JSONExtract(ifNull(metadata, ''), 'a', 'Nullable(Float64)') AS `a`"),
        ({"type": "boolean"}, "JSONExtract(ifNull(metadata, ''), 'a', 'Nullable(Bool)') AS `a`"),
        ({"type": "array", "items": NUMBER}, "'Array(Nullable(Float64))') AS `a`"),
        (of(b=TEXT, c=INTEGER), "'Tuple(`b` Nullable(String), `c` Nullable(Int64))') AS `a`"),
        ({"type": "object"}, "'Nullable(String)') AS `a`"),
        (TIME, f"parseDateTime64BestEffortOrNull({OF_TEXT}, 3, 'UTC') AS `a`"),
        (DAY, f"toDate32OrNull({OF_TEXT}) AS `a`"),
        (
            {"type": "string", "format": "email"},
            "        JSONExtract(ifNull(metadata, ''), 'a', 'Nullable(String)') AS `a`",
        ),
    ],
)
def test_each_property_is_a_column_of_its_type(schema: dict[str, Any], value: str) -> None:
    assert f"{value},\n        metadata\n" in pipe("purchase", {"1-0-0": of(a=schema)})


def test_the_newest_versions_columns_come_first_then_those_of_versions_before() -> None:
    text = pipe("purchase", {"1-0-0": of(a=INTEGER, b=TEXT), "1-1-0": of(c=TEXT, a=NUMBER)})
    places = [text.index(f"AS `{name}`") for name in ("c", "a", "b")]
    assert places == sorted(places)
    assert "'a', 'Nullable(Float64)'" in text
    assert "of the versions 1-0-0, 1-1-0." in text
    assert "AND event_type = 'purchase'" in text


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (TEXT, TEXT, TEXT),
        (INTEGER, INTEGER, INTEGER),
        (INTEGER, NUMBER, NUMBER),
        (NUMBER, INTEGER, NUMBER),
        (TEXT, NUMBER, {}),
        ({}, NUMBER, {}),
        (NUMBER, {}, {}),
        (DAY, DAY, DAY),
        (DAY, TEXT, TEXT),
        (TEXT, DAY, TEXT),
        (
            {"type": "array", "items": INTEGER}, {"type": "array", "items": NUMBER}, {"type": "array", "items": NUMBER}
        ),
        (of(a=TEXT, b=TEXT), of(b=NUMBER, c=TEXT), {"type": "object", "properties": {"a": TEXT, "b": {}, "c": TEXT}}),
        ({"type": "object"}, of(a=TEXT), {"type": "object", "properties": {"a": TEXT}}),
    ],
)  # fmt: skip
def test_a_column_takes_the_values_of_all_versions(one: dict, other: dict, common: dict) -> None:
    assert both(one, other) == common


def test_values_of_different_types_are_shown_as_json() -> None:
    versions = {"1-0-0": of(a=TEXT, b={"type": "array", "items": TEXT}), "2-0-0": of(a=NUMBER, b=INTEGER)}
    text = pipe("purchase", versions)
    assert "'a', 'Nullable(String)'" in text
    assert "'b', 'Nullable(String)'" in text


def test_a_property_with_the_name_of_a_column_gets_another_one() -> None:
    assert column_names(["total", "user_id", "property_user_id", "metadata"]) == {
        "total": "total",
        "user_id": "property_property_user_id",
        "property_user_id": "property_user_id",
        "metadata": "property_metadata",
    }
    source = (PROJECT_DIR / "tinybird" / "datasources" / "events_v1.datasource").read_text()
    assert all(f"`{column}`" in source for column in EventData.__annotations__)
    assert source.count("json:$.") == len(EventData.__annotations__)


# Types of the clients; a compiler reads the examples: `make check-sdk`, and mypy in tests/integration/clients


def test_python_types_are_those_of_the_client(tmp_path: Path) -> None:
    inside = of(("sku",), sku=TEXT)
    text = python_module(
        purchase(
            at=TIME,
            day=DAY,
            ref={"type": "string", "format": "uuid"},
            kind={"type": "string", "enum": ["a", 'q"', 7, "it's"]},
            size={"type": "integer", "enum": [1, 2.0, 2.5, True, "x"]},
            rate={"type": "number", "enum": [1.5]},
            none={"type": "string", "enum": [1]},
            tags={"type": "array", "items": {"type": "array", "items": TEXT}},
            first=inside,
            last=inside,
            more={"type": "object"},
            ok={"type": "boolean"},
        )
    )
    for line in (
        "at: NotRequired[datetime | str]",
        "day: NotRequired[date | str]",
        "ref: NotRequired[UUID | str]",
        'kind: NotRequired[Literal["a", "q\\"", "it\'s"]]',
        "size: NotRequired[Literal[1, 2]]",
        "rate: NotRequired[float]",
        "none: NotRequired[Never]",
        "tags: NotRequired[Sequence[Sequence[str]]]",
        "first: NotRequired[PurchasePropertiesFirst]",
        "last: NotRequired[PurchasePropertiesLast]",
        "more: NotRequired[Mapping[str, object]]",
        "ok: NotRequired[bool]",
    ):
        assert f"    {line}\n" in text
    assert text.count("    sku: str\n") == 2
    assert "from typing import Literal, Never, NotRequired, TypedDict\n" in text
    compiled(text, tmp_path)


def test_names_that_python_keeps_for_itself_are_no_trouble(tmp_path: Path) -> None:
    schemas = {
        SchemaId("class", "1-0-0"): {**of(("from",), **{"from": TEXT, "str": NUMBER}), "description": 'A "date"\\'},
        SchemaId("a_1", "1-0-0"): of(__a=TEXT),
        SchemaId("a1", "1-0-0"): of(b=of(c=TEXT), B=of(c=TEXT)),
    }
    text = python_module(schemas)
    assert 'ClassProperties = TypedDict(\n    "ClassProperties",\n    {\n        "from": str,\n' in text
    assert "#: A 'date'/\n" in text
    assert "import date" not in text
    assert "A_1Properties = TypedDict(" in text
    assert "class A1PropertiesB(TypedDict)" in text
    assert "class A1PropertiesB_(TypedDict)" in text
    assert "def class_event(properties: ClassProperties) -> OwnEvent:" in text
    compiled(text, tmp_path)


def compiled(text: str, folder: Path) -> None:
    (path := folder / "own_events.py").write_text(text)
    py_compile.compile(str(path), doraise=True)


def test_typescript_types_are_those_of_the_clients() -> None:
    text = typescript_module(
        purchase(
            at=TIME,
            day=DAY,
            kind={"type": "string", "enum": ["a", 'q"', 7], "description": "a\n */ b"},
            size={"type": "integer", "enum": [1, True, "x"]},
            none={"type": "string", "enum": [1]},
            more={"type": "object"},
            ok={"type": "boolean"},
        )
    )
    for line in (
        "at?: string | Date;",
        "day?: string;",
        "/** a * / b */",
        'kind?: "a" | "q\\"";',
        "size?: 1;",
        "none?: never;",
        "more?: {\n      [further: string]: unknown;\n    };",
        "ok?: boolean;",
    ):
        assert f"    {line}\n" in text


# Parts of the documents


def merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **other, **{name: merged(one[name], other[name]) for name in one.keys() & other.keys()}}
    assert one == other, "two parts say different things of one name"
    return other


def test_the_openapi_document_with_the_part_is_valid_and_has_each_version() -> None:
    part = json.loads(files(read_schemas(EXAMPLES / "schemas"))["openapi.json"])
    whole = merged(openapi_document(max_body_bytes=262_144, default_timeout_seconds=1_800), part)
    OpenAPIV31SpecValidator(whole).validate()
    shapes = part["components"]["schemas"]
    assert list(shapes) == ["purchase.1-0-0", "purchase.1-1-0"]
    shape = shapes["purchase.1-1-0"]
    assert shape["required"] == ["event_type", "schema", "properties"]
    assert shape["description"] == "Something was bought."
    assert shape["properties"]["schema"] == {"const": "1-1-0"}
    assert shape["properties"]["event_type"] == {"const": "purchase"}
    assert "coupon" in shape["properties"]["properties"]["properties"]
    assert {"session_id", "timestamp", "passive", "page_url"} <= shape["properties"].keys()
    assert "metadata" not in shape["properties"]


def test_the_asyncapi_document_with_the_part_is_valid_and_has_each_version() -> None:
    part = json.loads(files(read_schemas(EXAMPLES / "schemas"))["asyncapi.json"])
    whole = merged(asyncapi_document(prefix="tracker.", partitions=12, bootstrap="one.example:9092", version="1"), part)
    validator = Draft7Validator(json.loads(gzip.decompress(ASYNCAPI_SCHEMA.read_bytes())))
    assert [error.message for error in validator.iter_errors(whole)] == []
    for name in ("purchase.1-0-0", "purchase.1-1-0"):
        assert whole["channels"]["events"]["messages"][name] == {"$ref": f"#/components/messages/{name}"}
        assert whole["components"]["messages"][name]["payload"] == {"$ref": f"#/components/schemas/{name}"}
    shape = whole["components"]["schemas"]["purchase.1-0-0"]["properties"]
    assert shape["schema"] == {"const": "1-0-0"}
    assert shape["data"]["properties"]["event_type"] == {"const": "purchase"}
    assert "OwnEventInput" not in whole["components"]["schemas"]
    assert "$schema" not in json.dumps(part)
