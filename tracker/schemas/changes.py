"""What a new version of a schema takes away from events that fit the one before. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

#: Limits that may only go down, or only up: then no event is refused that fitted before.
_MAY_FALL: Final = ("minimum", "minLength", "minItems")
_MAY_RISE: Final = ("maximum", "maxLength", "maxItems")
_ABSENT: Final = object()


class Break(NamedTuple):
    """Something that was taken and is refused now; ``place`` are the keys that lead to it in the new schema."""

    place: tuple[str, ...]
    problem: str


def breaks(old: Mapping[str, Any], new: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[Break]:
    """Yield each change by which values of ``old`` may not fit ``new``. Both are in the subset (``topics.schemas``)."""
    if old["type"] != new["type"] and (old["type"], new["type"]) != ("integer", "number"):
        yield Break((*place, "type"), f"was {old['type']}, is {new['type']}")
        return
    yield from _of_limits(old, new, place)
    if new["type"] == "array":
        yield from breaks(old["items"], new["items"], (*place, "items"))
    if new["type"] == "object":
        yield from _of_properties(old, new, place)


def _of_limits(old: Mapping[str, Any], new: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[Break]:
    for keyword in _MAY_FALL:
        if keyword in new and new[keyword] > old.get(keyword, float("-inf")):
            yield Break((*place, keyword), f"was {old.get(keyword, 'not limited')}, is {new[keyword]}")
    for keyword in _MAY_RISE:
        if keyword in new and new[keyword] < old.get(keyword, float("inf")):
            yield Break((*place, keyword), f"was {old.get(keyword, 'not limited')}, is {new[keyword]}")
    for keyword in ("pattern", "format"):
        if keyword in new and new[keyword] != old.get(keyword, _ABSENT):
            yield Break((*place, keyword), f"was {old.get(keyword, 'not there')}, is {new[keyword]}")
    if "enum" in new and (gone := [value for value in old.get("enum", [_ABSENT]) if value not in new["enum"]]):
        yield Break((*place, "enum"), "was not limited" if gone == [_ABSENT] else f"has no {', '.join(map(str, gone))}")


def _of_properties(old: Mapping[str, Any], new: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[Break]:
    was, now = old.get("properties", {}), new.get("properties", {})
    was_open, is_open = old.get("additionalProperties", True), new.get("additionalProperties", True)
    for name in new.get("required", []):
        if name not in old.get("required", []):
            yield Break((*place, "required"), f"{name} was not required")
    if was_open and not is_open:
        yield Break((*place, "additionalProperties"), "was true, is false")
    for name, inner in was.items():
        inside = (*place, "properties", name)
        if name in now:
            yield from breaks(inner, now[name], inside)
        elif not is_open:
            yield Break((*place, "properties"), f"{name} is gone")
        else:
            yield Break((*place, "properties"), f"{name} is gone, and has no type any more")
    for name in sorted(now.keys() - was.keys()) if was_open else ():
        yield Break((*place, "properties", name), "took any value, as it was not described")
