"""``metadata`` as an object: the limits that hold however it comes, and the one text that it is stored as. Pure."""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

import orjson

MAX_METADATA_CHARS: Final = 16_384
#: Objects and lists inside of each other; the object itself is the first.
MAX_METADATA_DEPTH: Final = 8
#: Keys of all objects in it together.
MAX_METADATA_KEYS: Final = 1_000


class UnfitObject(ValueError):  # noqa: N818 - it is a verdict on the object, not an error of ours
    """An object can't be stored as metadata; the text says why."""


def as_text(value: Any) -> Any:
    """Return an object as its canonical JSON, and anything else as it is.

    Raises:
        UnfitObject: it can't be stored.
    """
    return canonical(value) if value.__class__ is dict else value


def canonical(value: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> str:
    """Return an object as its canonical JSON: keys sorted, no white space, UTF-8. About 1 us for ten keys.

    Two objects with the same content have the same text, whatever the order of their keys. Whole numbers of more than
    64 bits become decimals. ``default`` returns the JSON form of a value that JSON can't write.

    Raises:
        UnfitObject: it is too deep, too long, has too many keys or a value that JSON can't write.
    """
    _check_shape(value)
    try:
        text = orjson.dumps(value, default, orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        text = _with_large_numbers(value, error)
    if len(text) > MAX_METADATA_CHARS:
        raise UnfitObject(f"{len(text)} characters as JSON; the limit is {MAX_METADATA_CHARS}")
    return text


def _check_shape(value: Mapping[str, Any]) -> None:
    """Hold depth and number of keys against their limits, level by level, so that no depth is too much to look at."""
    keys = 0
    level: list[Any] = [value]
    for _ in range(MAX_METADATA_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                keys += len(each)
                each = each.values()  # noqa: PLW2901 - the children of either
            for child in each:
                kind = child.__class__
                if kind is dict or kind is list:
                    inner.append(child)
                elif kind is float and not isfinite(child):
                    raise UnfitObject("has a number that is not finite")
        if keys > MAX_METADATA_KEYS:
            raise UnfitObject(f"{keys} keys or more; the limit is {MAX_METADATA_KEYS}")
        if not inner:
            return
        level = inner
    raise UnfitObject(f"nested deeper than {MAX_METADATA_DEPTH} levels")


def _with_large_numbers(value: Mapping[str, Any], error: orjson.JSONEncodeError) -> str:
    """Write an object with numbers that orjson reads but does not write."""
    try:
        read = orjson.loads(json.dumps(value))
    except (TypeError, ValueError):
        raise UnfitObject(f"can't be written as JSON: {error}") from None
    return orjson.dumps(read, None, orjson.OPT_SORT_KEYS).decode()
