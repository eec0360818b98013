"""Makes the types of both clients from the collector's OpenAPI document and the records' own annotations.

python -m clients.generate            # write them
python -m clients.generate --check    # fail unless the committed files are what this gives
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from topics.codec import MAX_SOURCE_VALUE_BYTES
from topics.event import EVENT_TYPES, EventInput
from topics.fields import Id, SessionId
from topics.metadata import MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from topics.session import SessionInput
from tracker.collect.api.openapi.document import document
from tracker.collect.records.context import MAX_TIMEOUT_SECONDS
from tracker.collect.records.event_list import MAX_BATCH_EVENTS

Json = Mapping[str, Any]

_HERE: Final = Path(__file__).parent
_MADE: Final = "Made by `make clients`; don't edit."

#: Arguments of a client's methods, or set by the client.
_NOT_FIELDS: Final = frozenset({"event_type", "schema", "properties", "session_id", "sent_at"})
#: Fields that a client takes in more forms than the collector does: it turns them into text. Python's, TypeScript's.
_WIDER: Final = {
    "timestamp": ("datetime | str", "Date | string"),
    "metadata": ("str | Mapping[str, object]", "string | object"),
    "user_traits": ("str | Mapping[str, object]", "string | object"),
}
_ABOUT: Final = {
    "timestamp": "when it happened; default: now",
    "event_id": "default: a new UUIDv7",
    "metadata": "an object is stored as its JSON",
    "user_traits": "an object is sent as JSON",
}
_PYTHON: Final = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}
_TYPESCRIPT: Final = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
#: The rule of ``event_tracker_client.checks`` for each type of JSON.
_RULES: Final = {"string": "Text", "number": "Number", "integer": "Integer"}


def files() -> dict[Path, str]:
    """Return the generated files with their text."""
    whole = document(max_body_bytes=0, default_timeout_seconds=MAX_TIMEOUT_SECONDS)
    schemas = whole["components"]["schemas"]
    shapes = {"EventFields": schemas["Event"], "SessionFields": schemas["Session"]}
    return {
        _HERE / "python/src/event_tracker_client/fields.py": "\n".join(_python(shapes)),
        _HERE / "python/src/event_tracker_client/record_rules.py": "\n".join(_record_rules()),
        _HERE / "node/src/fields.d.ts": "\n".join(_typescript(shapes)),
        _HERE / "node/src/constants.js": "\n".join(_constants()),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with what is there."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(_HERE.parent)} is not what the collector's document gives: run make clients")  # noqa: T201
        return 1 if stale else 0
    for path in stale:
        path.write_text(files()[path])
    return 0


def _python(shapes: Mapping[str, Json]) -> Iterator[str]:
    yield f'"""The fields of events and sessions, from the collector\'s OpenAPI document. {_MADE}"""'
    yield ""
    yield "from collections.abc import Mapping"
    yield "from datetime import datetime"
    yield "from typing import Final, Literal, TypedDict"
    yield ""
    yield "#: The types of events that need no schema."
    yield f"EventType = Literal[{', '.join(map(_quoted, EVENT_TYPES))}]"
    for name, shape in shapes.items():
        yield from ("", "", f"class {name}(TypedDict, total=False):")
        yield f'    """{_summary(name)}"""'
        yield ""
        for field, schema in _fields(shape):
            about = _about(field, schema)
            yield f"    {field}: {_python_type(field, schema)}{f'  # {about}' if about else ''}"
    yield from ("", "", "#: Events in one request.", f"MAX_BATCH_EVENTS: Final = {MAX_BATCH_EVENTS}")
    yield "#: One event or session, with what the collector adds."
    yield f"MAX_RECORD_BYTES: Final = {MAX_SOURCE_VALUE_BYTES:_}"
    yield ""


def _record_rules() -> Iterator[str]:
    """The rules for ``data`` of a Kafka record, which nobody answers: the client holds them itself."""
    yield f'"""What the data of Kafka records may hold, as their annotations have it. {_MADE}"""'
    yield ""
    yield "from typing import Final"
    yield ""
    yield "from event_tracker_client.checks import Integer, Number, OneOf, Rule, Text, TextOrObject"
    for name, shape in (("EVENT_RULES", EventInput), ("SESSION_RULES", SessionInput)):
        yield from ("", f"{name}: Final[dict[str, Rule]] = {{")
        for field, schema in TypeAdapter(shape).json_schema()["properties"].items():
            yield f"    {_quoted(field)}: {_rule(schema)},"
        yield "}"
    session_id, workspace_id = TypeAdapter(SessionId).json_schema(), TypeAdapter(Id).json_schema()
    yield from ("", "#: What events and sessions may have beside their data.")
    yield from ("ENVELOPE_RULES: Final[dict[str, Rule]] = {", f'    "visitor_id": {_rule(workspace_id)},', "}")
    yield ""
    yield "#: No white space and no control characters."
    yield f"SESSION_ID_PATTERN: Final = r{_quoted(session_id['pattern'], escape=False)}"
    yield f"MAX_SESSION_ID_CHARS: Final = {session_id['maxLength']}"
    yield f"MAX_WORKSPACE_ID_CHARS: Final = {workspace_id['maxLength']}"
    yield ""


def _typescript(shapes: Mapping[str, Json]) -> Iterator[str]:
    yield f"// The fields of events and sessions, from the collector's OpenAPI document. {_MADE}"
    yield ""
    yield "/** The types of events that need no schema. */"
    yield f"export type EventType = {' | '.join(map(_quoted, EVENT_TYPES))};"
    for name, shape in shapes.items():
        yield from ("", f"/** {_summary(name)} */", f"export interface {name} {{")
        for field, schema in _fields(shape):
            about = _about(field, schema)
            if about:
                yield f"  /** {about[0].upper()}{about[1:]}. */"
            yield f"  {field}?: {_typescript_type(field, schema)};"
        yield "}"
    yield ""


def _constants() -> Iterator[str]:
    yield f"// The collector's limits. {_MADE}"
    yield from ("", "/** Events in one request. */", f"export const MAX_BATCH_EVENTS = {MAX_BATCH_EVENTS};")
    yield from ("", "/** One event or session, with what the collector adds. */")
    yield f"export const MAX_RECORD_BYTES = {MAX_SOURCE_VALUE_BYTES:_};"
    yield ""


def _summary(name: str) -> str:
    if name == "EventFields":
        return "Fields of an event. What is left out comes from its session."
    return "What opens a session or is added to it: its events need not repeat it."


def _fields(shape: Json) -> Iterator[tuple[str, Json]]:
    for field, schema in shape["properties"].items():
        if field not in _NOT_FIELDS:
            yield field, schema


def _plain(schema: Json) -> tuple[Json, bool]:
    """Return a schema without its null, and whether it had one; of a text or an object, the text."""
    options = schema.get("anyOf", [schema])
    plain = [option for option in options if option.get("type") not in {"null", "object"}]
    if len(plain) != 1:
        raise TypeError(f"{schema} has no type that a client could show")
    return plain[0], any(option.get("type") == "null" for option in options)


def _takes_object(schema: Json) -> bool:
    return any(option.get("type") == "object" for option in schema.get("anyOf", []))


def _python_type(field: str, schema: Json) -> str:
    plain, takes_null = _plain(schema)
    if field in _WIDER:
        name = _WIDER[field][0]
    elif "enum" in plain:
        name = f"Literal[{', '.join(map(_quoted, plain['enum']))}]"
    else:
        name = _PYTHON[plain["type"]]
    return f"{name} | None" if takes_null else name


def _typescript_type(field: str, schema: Json) -> str:
    plain, takes_null = _plain(schema)
    if field in _WIDER:
        name = _WIDER[field][1]
    elif "enum" in plain:
        name = " | ".join(map(_quoted, plain["enum"]))
    else:
        name = _TYPESCRIPT[plain["type"]]
    return f"{name} | null" if takes_null else name


def _about(field: str, schema: Json) -> str:
    plain, _ = _plain(schema)
    said = [_ABOUT[field]] if field in _ABOUT else []
    if "maxLength" in plain:
        said.append(f"at most {plain['maxLength']:,} characters")
    if "minimum" in plain and "maximum" in plain:
        said.append(f"{plain['minimum']:,} to {plain['maximum']:,}")
    if "description" in schema:
        said.append(schema["description"][0].lower() + schema["description"][1:].removesuffix("."))
    return "; ".join(said)


def _rule(schema: Json) -> str:
    plain, takes_null = _plain(schema)
    null = ", takes_null=True" if takes_null else ""
    if "enum" in plain:
        values = ", ".join(map(_quoted, plain["enum"]))
        return f"OneOf(({values}{'' if len(plain['enum']) > 1 else ','}){null})"
    if _takes_object(schema):
        return f"TextOrObject({plain['maxLength']:_}, {MAX_METADATA_DEPTH}, {MAX_METADATA_KEYS:_}{null})"
    kind = _RULES[plain["type"]]
    limits = (plain["maxLength"],) if kind == "Text" else (plain["minimum"], plain["maximum"])
    return f"{kind}({', '.join(f'{limit:_}' for limit in limits)}{null})"


def _quoted(text: str, *, escape: bool = True) -> str:
    if '"' in text or (escape and "\\" in text):
        raise ValueError(f"{text!r} can't be quoted")
    return f'"{text}"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
