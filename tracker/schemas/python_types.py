"""Python for events of your own types: what their properties are, and the arguments of ``track``. Pure."""

import keyword
import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

from topics.schemas import SchemaId

Json = Mapping[str, Any]

_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
#: The client writes these as such texts.
_OF_FORMAT: Final = {"date-time": "datetime | str", "date": "date | str", "uuid": "UUID | str"}
#: Where each name is from; those that are used are imported.
_IMPORTS: Final = (
    ("collections.abc", ("Mapping", "Sequence")),
    ("datetime", ("date", "datetime")),
    ("typing", ("Literal", "Never", "NotRequired", "TypedDict")),
    ("uuid", ("UUID",)),
)
#: A field of such a name would hide the type from the fields after it.
_NAMES: Final = frozenset({*_TYPES.values(), "object", *(name for _, names in _IMPORTS for name in names)})
_WORD_BEGIN: Final = re.compile(r"(?:^|_)([a-z])")
_TEXTS: Final = re.compile(r'""".*?"""|"[^"\n]*"|#: .*', re.DOTALL)

_FUNCTION: Final = '''

def {event_type}_event(properties: {name}) -> OwnEvent:
    """{said}

    client.track(session_id, **{event_type}_event({{...}}))
    """
    return {{"event_type": "{event_type}", "schema": "{version}", "properties": properties}}
'''


def python_module(newest: Mapping[SchemaId, Json]) -> str:
    """Return a module with the newest version of each type."""
    # A name of a type keeps its underscores before digits, so no two types have the same.
    names = {each: _WORD_BEGIN.sub(lambda found: found[1].upper(), each.event_type) for each in newest}
    classes = _Classes({f"{name}Properties" for name in names.values()})
    body = ""
    for each, schema in newest.items():
        name, said = f"{names[each]}Properties", _said(schema, f"An event of the type {each.event_type}.")
        body += "\n".join([*classes.lines(name, schema, said), ""])
        body += _FUNCTION.format(event_type=each.event_type, name=name, said=said, version=each.version)
    return "\n".join([*_head(body), body])


class _Classes:
    """The classes of a module: each object is one."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def lines(self, name: str, schema: Json, said: str) -> Iterator[str]:
        """Yield the classes of the objects in an object, and then its own."""
        fields = {}
        for field, inner in schema.get("properties", {}).items():
            type_ = yield from self._type(inner, f"{name}{field[0].upper()}{field[1:]}", f"``{field}``.")
            fields[field] = type_ if field in schema.get("required", ()) else f"NotRequired[{type_}]"
        yield from ("", "")
        if all(_is_plain(field) for field in fields):
            yield from (f"class {name}(TypedDict):", f'    """{said}"""', "")
            yield from (f"    {field}: {type_}" for field, type_ in fields.items())
        else:
            yield from (f"#: {said}", f"{name} = TypedDict(", f'    "{name}",', "    {")
            yield from (f'        "{field}": {type_},' for field, type_ in fields.items())
            yield from ("    },", ")")

    def _type(self, schema: Json, name: str, said: str) -> Generator[str, None, str]:
        """Yield the classes that a type needs; return the type."""
        kind = schema["type"]
        if kind == "array":
            return f"Sequence[{(yield from self._type(schema['items'], name, said))}]"
        if kind == "object" and not schema.get("properties"):
            return "Mapping[str, object]"
        if kind == "object":
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            yield from self.lines(name, schema, _said(schema, said))
            return name
        if "enum" in schema and kind != "number":  # a float has no literal
            return _literals(schema["enum"], kind)
        return _OF_FORMAT.get(schema.get("format", ""), _TYPES[kind])


def _head(body: str) -> Iterator[str]:
    yield '"""Events of your own types. Made by `tracker schemas build`; don\'t edit."""'
    yield ""
    words = set(re.findall(r"\w+", _TEXTS.sub("", body)))
    for module, names in _IMPORTS:
        if used := [name for name in names if name in words]:
            yield f"from {module} import {', '.join(used)}"
    yield from ("", "from event_tracker_client import OwnEvent")


def _said(schema: Json, default: str) -> str:
    said = " ".join(str(schema.get("description") or schema.get("title") or default).split())
    return said.replace("\\", "/").replace('"', "'")


def _is_plain(field: str) -> bool:
    return not (keyword.iskeyword(field) or field.startswith("__") or field in _NAMES)


def _literals(values: list[Any], kind: str) -> str:
    """Return those values of an enumeration that have its type. Without any, there is no value that fits."""
    if kind == "string":
        fit = [_quoted(each) for each in values if isinstance(each, str)]
    else:
        numbers = [each for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
        fit = [str(int(each)) for each in numbers if each == int(each)]
    return f"Literal[{', '.join(fit)}]" if fit else "Never"


def _quoted(text: str) -> str:
    return '"' + repr(text)[1:-1].replace('"', '\\"') + '"'
