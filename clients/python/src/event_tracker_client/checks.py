"""Checks the data of records for Kafka, where nobody answers: what the processor would refuse is refused here.

Over HTTP the collector judges. The rules are generated from the processor's own annotations (``record_rules``).
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from event_tracker_client.items import canonical

#: SchemaVer: model, revision, addition.
_SCHEMA_VERSION: Final = re.compile(r"[1-9][0-9]*-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)")
_MAX_SCHEMA_CHARS: Final = 20
_OWN_EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_OWN_EVENT_FIELDS: Final = frozenset({"event_type", "properties"})


class Rule(Protocol):
    """What a field may hold."""

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing."""


class Text(NamedTuple):
    """A text with at most so many characters."""

    max_chars: int
    takes_null: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing."""
        if value is None and self.takes_null:
            return None
        if not isinstance(value, str):
            return "must be a text"
        return f"at most {self.max_chars} characters" if len(value) > self.max_chars else None


class TextOrObject(NamedTuple):
    """A text, or an object that is stored as its JSON: with at most so many characters, levels and keys."""

    max_chars: int
    max_depth: int
    max_keys: int
    takes_null: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing.

        Raises:
            ValueError: a number in the object is not finite.
            TypeError: JSON has no form for a value in the object.
        """
        if not isinstance(value, dict):
            return Text(self.max_chars, self.takes_null).fault(value)
        return Text(self.max_chars).fault(canonical(value)) or self._shape_fault(value)

    def _shape_fault(self, value: dict[Any, Any]) -> str | None:
        keys = 0
        level: list[Any] = [value]
        for _ in range(self.max_depth):
            keys += sum(len(each) for each in level if isinstance(each, dict))
            if keys > self.max_keys:
                return f"at most {self.max_keys} keys"
            children = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
            level = [child for child in children if isinstance(child, dict | list | tuple)]
            if not level:
                return None
        return f"at most {self.max_depth} levels"


class Number(NamedTuple):
    """A number from ``low`` to ``high``."""

    low: float
    high: float
    takes_null: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing."""
        if value is None and self.takes_null:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        return None if self.low <= value <= self.high else f"must be from {self.low} to {self.high}"


class Integer(NamedTuple):
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int
    takes_null: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing."""
        if isinstance(value, float):
            return "must be a whole number"
        return Number(self.low, self.high, self.takes_null).fault(value)


class OneOf(NamedTuple):
    """One of these texts."""

    values: tuple[str, ...]
    takes_null: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None: nothing."""
        if value is None and self.takes_null:
            return None
        return None if value in self.values else f"must be one of {', '.join(self.values)}"


def faults(data: Mapping[str, Any], rules: Mapping[str, Rule]) -> list[str]:
    """Return what is wrong with the data of a record, a line for each field; empty: nothing."""
    found = []
    for name, value in data.items():
        rule = rules.get(name)
        fault = "there is no such field" if rule is None else rule.fault(value)
        if fault is not None:
            found.append(f"{name}: {fault}")
    return found


def own_event_faults(schema: Any, data: Mapping[str, Any], rules: Mapping[str, Rule]) -> list[str]:
    """Return what is wrong with an event of the user's own type; whether it fits its schema the processor judges."""
    found = faults({name: value for name, value in data.items() if name not in _OWN_EVENT_FIELDS}, rules)
    if not isinstance(schema, str) or len(schema) > _MAX_SCHEMA_CHARS or not _SCHEMA_VERSION.fullmatch(schema):
        found.append("schema: must be a version such as 1-0-0")
    name = data.get("event_type")
    if not isinstance(name, str) or not _OWN_EVENT_TYPE.fullmatch(name):
        found.append("event_type: must be a name in snake_case of at most 64 characters")
    properties = data.get("properties")
    fault = rules["metadata"].fault(properties) if isinstance(properties, dict) else "must be an object"
    if fault is not None:
        found.append(f"properties: {fault}")
    if data.get("metadata") is not None:
        found.append("metadata: an event of your own type has properties instead")
    return found
