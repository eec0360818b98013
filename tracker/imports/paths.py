"""Columns of rows as paths: ``user``, ``context.page.url``, ``properties."order.id"``, ``items.0.price``, ``params.*``.

A path goes into objects, into lists by number, into lists of keys and values (``[{"key": k, "value": v}, …]``, as
BigQuery and OpenTelemetry have them) by key, and into text that holds JSON. ``action[type=click].url`` takes the url of
an action whose type is click. A ``*`` at the end takes everything that is there and that no other path names. A column
whose whole name is written like a path is found under that name, too. Pure.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from topics.codec import RejectedRecord
from tracker.errors import ConfigurationError

REST: Final = "*"
_STEP: Final = re.compile(r'(?:"([^"]+)"|([^."\[\]]+))(?:\[([^=\[\]]+)=([^\[\]]*)\])?')
#: Where a list of keys and values has typed values: the first of these that is not null is the value.
_TYPED: Final = (
    *("string_value", "int_value", "float_value", "double_value", "bool_value"),
    *("stringValue", "intValue", "doubleValue", "boolValue"),
)
#: JSON that writes 64-bit integers as text, as these sources do.
_INTEGERS: Final = frozenset({"int_value", "intValue"})
_INTEGER_MAX_CHARS: Final = 20
_CONTAINERS: Final = frozenset({str, dict, list})


@dataclass(slots=True)
class _Node:
    """The wanted parts of a value: the value itself (slots), some of its keys (children), and its other keys (rest)."""

    children: dict[str, "_Node"] = field(default_factory=dict)
    #: More wanted parts, if a key of the value has a certain value.
    cases: dict[tuple[str, str], "_Node"] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)

    def below(self, step: "Step") -> "_Node":
        """Return the node that a step leads to."""
        child = self.children.setdefault(step.key, _Node())
        return child if step.case is None else child.cases.setdefault(step.case, _Node())


class Step(NamedTuple):
    """A step of a path: a key, and optionally a condition: a key of the value there must have a certain value."""

    key: str
    case: tuple[str, str] | None = None


class Columns:
    """Takes the values of some columns out of rows: one walk over a row, whatever the number of columns."""

    def __init__(self, columns: Sequence[str], *, allows_others: bool) -> None:
        """Compile the columns.

        Raises:
            ConfigurationError: one is written in a way that can't be read.
        """
        self._root = _Node()
        for slot, column in enumerate(columns):
            *before, last = parse(column)
            node = self._root
            for step in before:
                node = node.below(step)
            if last.key == REST:
                node.rest.append(slot)
            else:
                node.below(last).slots.append(slot)
            if before:
                self._root.below(Step(column)).slots.append(slot)
        self._allows_others = allows_others or bool(self._root.rest)
        #: Columns of which nothing but the value itself is wanted, once.
        self._only_slots = {
            column: node.slots[0]
            for column, node in self._root.children.items()
            if len(node.slots) == 1 and not (node.children or node.cases or node.rest)
        }

    def find(self, row: Mapping[str, Any]) -> dict[int, Any]:
        """Return what the columns hold in a row, by their places among the columns; without those that hold nothing.

        Raises:
            RejectedRecord: the row has a column that is not among these, if others are not allowed.
        """
        found: dict[int, Any] = {}
        children, only_slots = self._root.children, self._only_slots
        for column, value in row.items():
            slot = only_slots.get(column)
            if slot is not None:  # most columns, in a third of the time
                if not is_nothing(value):
                    found[slot] = value
            elif (child := children.get(column)) is not None:
                if not is_nothing(value):
                    _walk(child, value, found)
            elif not self._allows_others:
                raise RejectedRecord("invalid", f"column {column!r} is no field: map it, or set ignore_other_columns")
        if self._root.rest:
            _keep_rest(self._root, row, found)
        return found


def parse(column: str) -> list[Step]:
    """Return the steps of a path.

    Raises:
        ConfigurationError: it can't be read.
    """
    steps: list[Step] = []
    at = 0
    while match := _STEP.match(column, at):
        steps.append(Step(match[1] or match[2], None if match[3] is None else (match[3], match[4])))
        at = match.end()
        if at == len(column) and REST not in [step.key for step in steps[:-1]]:
            return steps
        if column[at : at + 1] != ".":
            break
        at += 1
    raise ConfigurationError(f'{column!r} is no column: write it as a, a.b, a."b c".d, a[b=c].d or a.*')


def is_nothing(value: Any) -> bool:
    """Return whether a value is empty: null, an empty text, object or list, or the NaN that pandas writes for null."""
    if value:
        return type(value) is float and value != value  # noqa: PLR0124 - NaN
    return value is None or type(value) in _CONTAINERS


def opened(value: Any) -> Any:
    """Return what a text holds if it holds JSON, and any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _walk(node: _Node, value: Any, found: dict[int, Any]) -> None:
    for slot in node.slots:
        found[slot] = value
    if not (node.children or node.cases or node.rest):
        return
    content = content_of(value)
    for key, child in node.children.items():
        inner = content.get(key)
        if inner is not None and not is_nothing(inner):
            _walk(child, inner, found)
    for case in _cases(node, content):
        _walk(case, content, found)
    if node.rest:
        _keep_rest(node, content, found)


def _cases(node: _Node, content: Mapping[str, Any]) -> list[_Node]:
    return [case for (key, value), case in node.cases.items() if str(content.get(key)) == value]


def _keep_rest(node: _Node, content: Mapping[str, Any], found: dict[int, Any]) -> None:
    if left := dict(_left(node, content)):
        for slot in node.rest:
            found[slot] = left


def _left(node: _Node, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values that no path has named, at any depth."""
    cases = _cases(node, content)
    for key, value in content.items():
        named = [each.children[key] for each in (node, *cases) if key in each.children]
        if value is None or any(child.slots or child.rest for child in named):
            continue
        if not named:
            yield key, value
        elif inner := dict(_left(named[0], content_of(value))):
            yield key, inner


def content_of(value: Any) -> Mapping[str, Any]:
    """Return the values inside a value, by the steps that lead to them. A number contains none."""
    value = opened(value)
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    if value and all(isinstance(each, dict) and "key" in each and "value" in each for each in value):
        return {str(each["key"]): _typed(each["value"]) for each in value}
    return {str(number): each for number, each in enumerate(value)}


def _typed(value: Any) -> Any:
    """Return the value of a key, out of the object that has a place for each type."""
    if not isinstance(value, dict):
        return value
    for name in _TYPED:
        found = value.get(name)
        if found is not None:
            return int(found) if name in _INTEGERS and isinstance(found, str) and _is_integer(found) else found
    return None if any(name in value for name in _TYPED) else value


def _is_integer(text: str) -> bool:
    return len(text) <= _INTEGER_MAX_CHARS and text.removeprefix("-").isdecimal()
