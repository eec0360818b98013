"""Parts of the AsyncAPI and OpenAPI documents for events of your own types, to merge into the tracker's. Pure.

Each version has a separate component, such as ``purchase.1-0-0``, because each may be sent.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from topics.catalog import SOURCE
from topics.event import OwnEventInput, OwnEventRecord
from topics.schemas import SchemaId

Json = dict[str, Any]

_REF: Final = "#/components/schemas/"
#: A request has these fields next to the event's data; in a record they are in the envelope.
_OF_REQUESTS: Final = ("session_id", "timestamp", "passive")
#: They say where a document is, and this one is somewhere else.
_OF_FILES: Final = frozenset({"$schema", "$id"})


def openapi_part(schemas: Mapping[SchemaId, Mapping[str, Any]]) -> Json:
    """Return the components: what ``POST /api/v1/events/track`` takes as an event of each version."""
    envelope = TypeAdapter(OwnEventRecord).json_schema()["properties"]
    shapes = {}
    for each, schema in schemas.items():
        shape = _data(each, schema)
        shape["properties"] |= {name: envelope[name] for name in _OF_REQUESTS} | {"schema": {"const": each.version}}
        shape["required"] = ["event_type", "schema", "properties"]
        shapes[_name(each)] = shape
    return {"components": {"schemas": shapes}}


def asyncapi_part(schemas: Mapping[SchemaId, Mapping[str, Any]]) -> Json:
    """Return the components and the channel's messages: a record of the source topic for each version."""
    messages: Json = {}
    shapes: Json = {}
    for each, schema in schemas.items():
        shape = TypeAdapter(OwnEventRecord).json_schema(ref_template=_REF + "{model}")
        shapes |= {name: shown for name, shown in shape.pop("$defs").items() if name != OwnEventInput.__name__}
        shape["properties"] |= {"schema": {"const": each.version}, "data": _data(each, schema)}
        shapes[_name(each)] = {**shape, "title": _name(each)}
        messages[_name(each)] = {
            "name": _name(each),
            "title": _said(each, schema),
            "contentType": "application/json",
            "payload": {"$ref": f"{_REF}{_name(each)}"},
        }
    refs = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {"channels": {SOURCE.suffix: {"messages": refs}}, "components": {"messages": messages, "schemas": shapes}}


def _data(each: SchemaId, schema: Mapping[str, Any]) -> Json:
    """Return the schema of an event's data: its fields, and its properties in place of metadata."""
    shape = TypeAdapter(OwnEventInput).json_schema()
    fields = {name: field for name, field in shape["properties"].items() if name != "metadata"}
    described = {key: value for key, value in schema.items() if key not in _OF_FILES}
    fields |= {"event_type": {"const": each.event_type}, "properties": described}
    return {**shape, "title": _name(each), "description": _said(each, schema), "properties": fields}


def _said(each: SchemaId, schema: Mapping[str, Any]) -> str:
    return str(schema.get("description") or schema.get("title") or f"An event of the type {each.event_type}.")


def _name(each: SchemaId) -> str:
    return f"{each.event_type}.{each.version}"
