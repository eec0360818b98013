"""TypeScript for events of your own types: what their properties are, and the arguments of ``track``. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from topics.schemas import SchemaId

Json = Mapping[str, Any]

_TYPES: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
#: Types of schemas whose values may be written as an enumeration.
_LITERALS: Final[Mapping[str, tuple[type, ...]]] = {"string": (str,), "integer": (int, float), "number": (int, float)}
#: Both clients write a Date as such a text.
_OF_FORMAT: Final = {"date-time": "string | Date"}

_MODULE: Final = """\
// Events of your own types. Made by `tracker schemas build`; don't edit.

/** The properties of each type. */
export interface OwnEvents {{
{types}
}}

const VERSIONS: Readonly<Record<keyof OwnEvents, string>> = {{
{versions}
}};

/**
 * What `track` takes of an event of your own type, on a page and in Node:
 *
 *   tracker.track(...ownEvent("{example}", {{ … }}));
 *   client.track(sessionId, ...ownEvent("{example}", {{ … }}));
 *
 * `fields` are those that every event may have, such as `page_url`.
 */
export function ownEvent<Type extends keyof OwnEvents, Fields extends object = object>(
  type: Type,
  properties: OwnEvents[Type],
  fields?: Fields,
): [type: Type, fields: Fields & {{ schema: string; properties: OwnEvents[Type] }}] {{
  return [type, {{ ...(fields as Fields), schema: VERSIONS[type], properties }}];
}}
"""


def typescript_module(newest: Mapping[SchemaId, Json]) -> str:
    """Return a module with the newest version of each type. There is one at least."""
    types, versions = [], []
    for each, schema in newest.items():
        types += [*_note(schema, "  "), f"  {each.event_type}: {_type(schema, '  ')};"]
        versions.append(f'  {each.event_type}: "{each.version}",')
    example = next(iter(newest)).event_type
    return _MODULE.format(types="\n".join(types), versions="\n".join(versions), example=example)


def _note(schema: Json, indent: str) -> Iterator[str]:
    said = " ".join(str(schema.get("description") or schema.get("title") or "").split())
    if said:
        yield f"{indent}/** {said.replace('*/', '* /')} */"


def _type(schema: Json, indent: str) -> str:
    kind = schema["type"]
    if kind == "array":
        return f"ReadonlyArray<{_type(schema['items'], indent)}>"
    if kind == "object":
        return "\n".join(_object(schema, indent))
    if "enum" in schema:
        return _literals(schema["enum"], _LITERALS[kind])
    return _OF_FORMAT.get(schema.get("format", ""), _TYPES[kind])


def _object(schema: Json, indent: str) -> Iterator[str]:
    yield "{"
    for name, inner in schema.get("properties", {}).items():
        yield from _note(inner, f"{indent}  ")
        mark = "" if name in schema.get("required", ()) else "?"
        yield f"{indent}  {name}{mark}: {_type(inner, f'{indent}  ')};"
    if schema.get("additionalProperties", True):
        yield f"{indent}  [further: string]: unknown;"
    yield f"{indent}}}"


def _literals(values: Sequence[Any], kinds: tuple[type, ...]) -> str:
    """Return those values of an enumeration that have its type. Without any, there is no value that fits."""
    fit = [value for value in values if isinstance(value, kinds) and not isinstance(value, bool)]
    return " | ".join(json.dumps(value, ensure_ascii=False) for value in fit) or "never"
