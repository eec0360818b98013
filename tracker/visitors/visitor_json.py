"""A visitor's fields as a part of a record's JSON. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from topics.visitor import Visitor

_visitor: Final[TypeAdapter[Any]] = TypeAdapter(Visitor)


def text(value: str, max_chars: int) -> str:
    """Cut a text to the size of its field; bytes of a header that are not UTF-8 become question marks."""
    return value[:max_chars].encode("utf-8", "replace").decode()


def json_inside(fields: Mapping[str, Any]) -> bytes:
    """Serialise the fields that have a value, without the braces around them.

    They are added to a record that has been checked already. So they are checked here, by the type that the processor
    uses, and a field that does not fit is left out: it must not make a dead letter of an event that was accepted.
    """
    known = {
        name: text(value, len(value)) if isinstance(value, str) else value for name, value in fields.items() if value
    }
    try:
        _visitor.validate_python(known)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors(include_url=False, include_input=False)}
        known = {name: value for name, value in known.items() if name not in wrong}
    return orjson.dumps(known)[1:-1]
