"""The pipe of an event type: its events with a typed column for each property. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from topics.event import EventData

#: Columns of every event that the pipe shows, in this order, before those of the properties.
_SHOWN: Final = (
    "timestamp",
    "id",
    "event_id",
    "session_id",
    "session_event_sequence",
    "user_id",
    "campaign_id",
    "page_url",
)
#: A property with the name of a column is shown with this before its name.
PREFIX: Final = "property_"

_CLICKHOUSE: Final = {
    "string": "Nullable(String)",
    "integer": "Nullable(Int64)",
    "number": "Nullable(Float64)",
    "boolean": "Nullable(Bool)",
}
#: Texts of a format become values of a type of their own; ``{}`` is the text.
_OF_FORMAT: Final = {
    "date-time": "parseDateTime64BestEffortOrNull({}, 3, 'UTC')",
    "date": "toDate32OrNull({})",
}

_PIPE: Final = """\
TOKEN "tracker_read" READ

DESCRIPTION >
    Events of the type {event_type}, with a column for each property of the versions {versions}.
    Made by tracker schemas build: make it anew when there is another version.

NODE endpoint
SQL >
    %
    SELECT
{columns}
    FROM events_v1 FINAL
    WHERE workspace_id =
        replaceAll({{{{String(workspace_id, description='The workspace', required=True)}}}}, '\\\\%', '%')
      AND event_type = '{event_type}'
      AND timestamp >= {{{{DateTime(date_from, '2000-01-01 00:00:00', description='At or after')}}}}
      AND timestamp < {{{{DateTime(date_to, '2100-01-01 00:00:00', description='Before')}}}}
      {{% if defined(session_id) %}}
      AND session_id = replaceAll({{{{String(session_id, description='Only this session')}}}}, '\\\\%', '%')
      {{% end %}}
    ORDER BY timestamp, session_id, session_event_sequence, id
    LIMIT {{{{Int32(limit, 1000, description='Events at most')}}}}

TYPE endpoint
"""


def pipe(event_type: str, versions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of the pipe ``event_NAME`` for all versions of a type, given in their order.

    A row does not tell its version, so a column takes the values of all: where versions have different types, it has
    the JSON of each value. ``metadata`` has all properties, also those that no version describes.
    """
    whole: Mapping[str, Any] = {"type": "object", "properties": {}}
    for schema in versions.values():
        whole = both(schema, whole)
    names = column_names(whole["properties"])
    columns = [
        *_SHOWN,
        *(f"{_value(name, schema)} AS `{names[name]}`" for name, schema in whole["properties"].items()),
        "metadata",
    ]
    shown = ",\n".join(f"        {column}" for column in columns)
    return _PIPE.format(event_type=event_type, versions=", ".join(versions), columns=shown)


def column_names(properties: Sequence[str] | Mapping[str, Any]) -> Mapping[str, str]:
    """Return the column of each property: its name, unless a column of all events has that name."""
    taken = {*EventData.__annotations__, *properties}
    names = {}
    for name in properties:
        column = name
        while column in EventData.__annotations__ or (column != name and column in taken):
            column = PREFIX + column
        names[name] = column
        taken.add(column)
    return names


def both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the values of two schemas have in common: without a ``type`` where they have nothing."""
    kinds = {one.get("type"), other.get("type")}
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    if len(kinds) > 1 or None in kinds:
        return {}
    if kinds == {"array"}:
        return {"type": "array", "items": both(one["items"], other["items"])}
    if kinds == {"object"}:
        inner, further = dict(one.get("properties", {})), other.get("properties", {})
        for name, schema in further.items():
            inner[name] = both(inner[name], schema) if name in inner else schema
        return {"type": "object", "properties": inner}
    return {"type": one["type"], **({"format": one["format"]} if one.get("format", 0) == other.get("format") else {})}


def _value(name: str, schema: Mapping[str, Any]) -> str:
    of_metadata = f"JSONExtract(ifNull(metadata, ''), '{name}', '{_type(schema)}')"
    return _OF_FORMAT.get(schema.get("format", ""), "{}").format(of_metadata)


def _type(schema: Mapping[str, Any]) -> str:
    """Return ClickHouse's type. An object that describes nothing, and a value of several types, is its JSON."""
    if schema.get("type") == "array":
        return f"Array({_type(schema['items'])})"
    if schema.get("type") == "object" and schema.get("properties"):
        return f"Tuple({', '.join(f'`{name}` {_type(inner)}' for name, inner in schema['properties'].items())})"
    return _CLICKHOUSE.get(schema.get("type", ""), "Nullable(String)")
