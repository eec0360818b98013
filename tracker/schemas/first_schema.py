"""A first schema of an event type, from an example of its events."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import orjson

from topics.schemas import DRAFT, SchemaId, Schemas, UnfitSchema
from tracker.errors import ConfigurationError
from tracker.schemas.files import read_document, schema_path

FIRST_VERSION: Final = "1-0-0"

#: A text gets the first of these formats that it has; of URIs only addresses, as any text with a colon may be one.
_FORMATS: Final = {
    name: jsonschema_rs.Draft202012Validator({"format": name}, validate_formats=True)
    for name in ("date-time", "date", "uuid", "email", "uri")
}
_ADDRESS: Final = re.compile(r"https?://")


def write_first_schema(folder: Path, event_type: str, example: Path) -> Path:
    """Write the first schema of a type into the folder; return its file.

    Raises:
        ConfigurationError: the example can't be used, or the type has a schema already.
    """
    schema = first_schema(event_type, read_document(example))
    path = schema_path(folder, SchemaId(event_type, FIRST_VERSION))
    if found := sorted(path.parent.glob("*.json")):
        raise ConfigurationError(f"{found[-1]} is there already: a further version is another file, such as 1-1-0.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    return path


def first_schema(event_type: str, example: Any) -> Mapping[str, Any]:
    """Return a schema that the properties of the example fit: each of them is required, and there are no others.

    Args:
        event_type: The name of the type.
        example: An event with ``properties``, or the properties alone.

    Raises:
        ConfigurationError: a value has no type, or the name or a property's name can't be used.
    """
    is_event = isinstance(example, dict) and isinstance(example.get("properties"), dict) and "event_type" in example
    properties = example["properties"] if is_event else example
    if not isinstance(properties, dict):
        raise ConfigurationError("the example must be an event with properties, or an object with them")
    schema = {"$schema": DRAFT, **_schema_of(properties, "properties")}
    schema_id = SchemaId(event_type, FIRST_VERSION)
    try:
        faults = Schemas({schema_id: schema}).faults(schema_id, properties)
    except UnfitSchema as unfit:
        raise ConfigurationError(str(unfit)) from None
    if faults:
        raise ConfigurationError(f"the example does not fit its own schema: {'; '.join(faults)}")
    return schema


def _schema_of(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    if isinstance(value, float):
        return {"type": "number"}
    if isinstance(value, str):
        return {"type": "string", **_format_of(value)}
    if isinstance(value, list):
        return {"type": "array", "items": _schema_of_items(value, place)}
    if isinstance(value, dict):
        inner = {name: _schema_of(each, f"{place}.{name}") for name, each in value.items()}
        return {"type": "object", "properties": inner, "required": list(inner), "additionalProperties": False}
    raise ConfigurationError(f"{place}: null has no type; give the example a value here, or leave it out")


def _format_of(text: str) -> dict[str, str]:
    for name, validator in _FORMATS.items():
        if validator.is_valid(text) and (name != "uri" or _ADDRESS.match(text)):
            return {"format": name}
    return {}


def _schema_of_items(items: Sequence[Any], place: str) -> dict[str, Any]:
    if not items:
        raise ConfigurationError(f"{place}: an empty list does not tell what it is a list of; give the example an item")
    first, *others = (_schema_of(item, f"{place}.{number}") for number, item in enumerate(items))
    for other in others:
        first = _both(first, other, place)
    return first


def _both(one: dict[str, Any], other: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a schema that fits what either does."""
    kinds = {one["type"], other["type"]}
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    if len(kinds) > 1:
        raise ConfigurationError(f"{place}: has items of different types, {' and '.join(sorted(kinds))}")
    if kinds == {"array"}:
        return {"type": "array", "items": _both(one["items"], other["items"], place)}
    if kinds == {"object"}:
        was, further = one["properties"], other["properties"]
        inner = {**further, **was}
        for name in was.keys() & further.keys():
            inner[name] = _both(was[name], further[name], f"{place}.{name}")
        required = [name for name in one["required"] if name in other["required"]]
        return {**one, "properties": inner, "required": required}
    return one if one == other else {"type": one["type"]}
