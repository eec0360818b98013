"""Schemas of the user's own event types: which properties a version of a type has. Pure.

A schema is a JSON Schema (draft 2020-12) of a stated subset, so that each property is a column of a known type, and two
versions can be compared. A released version never changes: a replay judges each event by the version that it names, as
the live fold did.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from topics.codec import MAX_DETAIL_ERRORS, RejectedRecord
from topics.event import EVENT_TYPES, OwnEventType, SchemaVersion

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

#: Versions of all types together, and properties of one type.
MAX_SCHEMAS: Final = 1_000
MAX_PROPERTIES: Final = 200
#: Objects and lists inside of each other; the properties themselves are the first.
MAX_SCHEMA_DEPTH: Final = 4

#: The keywords that are allowed in a schema, by the type that it describes.
_NOTES: Final = frozenset({"title", "description", "examples", "type"})
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "object": _NOTES | {"properties", "required", "additionalProperties"},
    "array": _NOTES | {"items", "minItems", "maxItems"},
    "string": _NOTES | {"enum", "minLength", "maxLength", "pattern", "format"},
    "integer": _NOTES | {"enum", "minimum", "maximum"},
    "number": _NOTES | {"enum", "minimum", "maximum"},
    "boolean": _NOTES,
}
_TOP: Final = frozenset({"$schema", "$id", "$comment"})
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_FORMATS: Final = frozenset({"date-time", "date", "email", "uri", "uuid"})
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_name: Final[TypeAdapter[str]] = TypeAdapter(OwnEventType, config=ConfigDict(defer_build=True))
_version: Final[TypeAdapter[str]] = TypeAdapter(SchemaVersion, config=ConfigDict(defer_build=True))


class SchemaId(NamedTuple):
    """A version of an event type."""

    event_type: str
    version: str


class UnfitSchema(ValueError):  # noqa: N818 - it is a verdict on the schema, not an error of ours
    """A schema can't be used; the text says where and why."""


class Schemas:
    """The versions of event types that are known, compiled."""

    def __init__(self, documents: Mapping[SchemaId, Any] | None = None) -> None:
        """Compile them. About 0.1 ms each.

        Raises:
            UnfitSchema: one is not in the subset, or its name is one of the plan's.
        """
        self.documents = dict(documents or {})
        if len(self.documents) > MAX_SCHEMAS:
            raise UnfitSchema(f"{len(self.documents)} schemas; the limit is {MAX_SCHEMAS}")
        self.validators = {each: _compiled(each, document) for each, document in self.documents.items()}

    def faults(self, schema: SchemaId, properties: Any) -> list[str]:
        """Return the mistakes in an event's properties, each with its path. About 1 us if there are none.

        Raises:
            RejectedRecord: ``unknown_schema``.
        """
        validator = self.validators.get(schema)
        if validator is None:
            raise RejectedRecord("unknown_schema", self._unknown(schema))
        if validator.is_valid(properties):
            return []
        found = islice(validator.iter_errors(properties), MAX_DETAIL_ERRORS)
        return [f"{'.'.join(['properties', *map(str, each.instance_path)])}: {each.message}" for each in found]

    def learn(self, further: "Schemas") -> None:
        """Know what ``further`` knows, from the next event on. It has all versions that these have."""
        self.documents, self.validators = further.documents, further.validators

    def check(self, event_type: str, version: str, metadata: str) -> None:
        """Check the properties of a decoded event, which are its metadata.

        Raises:
            RejectedRecord: the schema is not known, or they don't fit it.
        """
        if faults := self.faults(SchemaId(event_type, version), orjson.loads(metadata)):
            raise RejectedRecord("invalid", f"{event_type} {version}: {'; '.join(faults)}")

    def _unknown(self, schema: SchemaId) -> str:
        if not schema.event_type:
            return "event_type is missing, and a schema belongs to one"
        versions = sorted(each.version for each in self.documents if each.event_type == schema.event_type)
        if versions:
            return f"{schema.event_type} has no version {schema.version}; there are {', '.join(versions)}"
        return f"there is no schema of the event type {schema.event_type}"


#: Without a folder of schemas there are no own event types.
NO_SCHEMAS: Final = Schemas()


def _compiled(schema: SchemaId, document: Any) -> "Draft202012Validator":
    import jsonschema_rs  # noqa: PLC0415 - 4 MiB that only deployments with schemas need

    where = f"{schema.event_type}/{schema.version}"
    try:
        _name.validate_python(schema.event_type)
        _version.validate_python(schema.version)
    except ValidationError:
        raise UnfitSchema(f"{where}: not a name in snake_case with a version such as 1-0-0") from None
    if schema.event_type in EVENT_TYPES:
        raise UnfitSchema(f"{where}: this event type is one of the tracker's own")
    for place, problem in _problems(document, "", 1):
        raise UnfitSchema(f"{where}{place}: {problem}")
    try:
        # Values may be secret: messages have a mask in their place.
        return jsonschema_rs.Draft202012Validator(
            document,
            validate_formats=True,
            ignore_unknown_formats=False,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(),  # a pattern takes no more than linear time
            offline=True,
        )
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise UnfitSchema(f"{where}: {error}") from None


def _problems(document: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the parts of a schema that are not in the subset, each with its place."""
    if not isinstance(document, dict):
        yield place, "must be an object"
        return
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        yield place, f"type must be one of {', '.join(_KEYWORDS)}"
        return
    allowed = _KEYWORDS[kind] | (_TOP if depth == 1 else frozenset())
    for keyword in document.keys() - allowed:
        yield place, f"{keyword} is not in the subset for {kind}: {', '.join(sorted(allowed))}"
    if document.get("$schema", DRAFT) != DRAFT:
        yield place, f"$schema must be {DRAFT}"
    if document.get("format", "date") not in _FORMATS:
        yield place, f"format must be one of {', '.join(sorted(_FORMATS))}"
    if depth == 1 and kind != "object":
        yield place, "an event's properties are an object"
    if depth > MAX_SCHEMA_DEPTH:
        yield place, f"nested deeper than {MAX_SCHEMA_DEPTH} levels"
    elif kind == "array":
        yield from _problems(document.get("items"), f"{place}/items", depth + 1)
    elif kind == "object":
        yield from _problems_of_properties(document, place, depth)


def _problems_of_properties(document: dict[str, Any], place: str, depth: int) -> Iterator[tuple[str, str]]:
    properties, required = document.get("properties", {}), document.get("required", [])
    if not isinstance(properties, dict) or len(properties) > MAX_PROPERTIES:
        yield place, f"properties must be an object with at most {MAX_PROPERTIES} keys"
        return
    if not isinstance(document.get("additionalProperties", False), bool):
        yield place, "additionalProperties must be true or false"
    if not isinstance(required, list) or any(name not in properties for name in required):
        yield place, "required must list names of properties"
    for name, inner in properties.items():
        if not _PROPERTY_NAME.fullmatch(name):
            yield f"{place}/properties/{name}", "a name has letters, digits and _, at most 64"
        yield from _problems(inner, f"{place}/properties/{name}", depth + 1)
