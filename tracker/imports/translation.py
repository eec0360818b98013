"""How the values of one field are read: the file's words into the event's, its numbers into the event's unit. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from topics.codec import RejectedRecord
from topics.event import EVENT_TYPES
from topics.visitor import DEVICE_TYPES
from tracker.imports.coverage import Coverage
from tracker.imports.mapping import ColumnMapping, Default
from tracker.imports.values import CONVERTERS, Convert, as_text

#: What a field takes as it is, where it takes only some words.
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    "event_type": frozenset(EVENT_TYPES),
    "device_type": frozenset(DEVICE_TYPES),
}


#: In place of a field's value: the mapping drops the row.
DROPPED: Final = object()


@dataclass(frozen=True, slots=True)
class Translation:
    """The way of a field's values."""

    field: str
    convert: Convert
    values: Mapping[str, str]
    drop: frozenset[str]
    otherwise: Default | str | None
    factor: float | None
    #: Words that the field takes as they are.
    takes: frozenset[str] = frozenset()

    @property
    def is_plain(self) -> bool:
        """Whether the values only have to be converted."""
        return not (self.values or self.drop or self.otherwise is not None or self.factor is not None)

    def of(self, value: Any, coverage: Coverage) -> Any:
        """Return the field's value; None where the mapping says that the file's word means nothing, or ``DROPPED``.

        Raises:
            RejectedRecord: the field takes no such value.
        """
        if (self.values or self.drop or self.otherwise is not None) and not isinstance(value, (dict, list)):
            value = self._translated(value, coverage)
            if value is DROPPED or value == "":
                return value or None
        found = self.convert(self.field, value)
        return found if self.factor is None else self._times(found, self.factor)

    def _translated(self, value: Any, coverage: Coverage) -> Any:
        text = as_text(self.field, value)
        known = self.values.get(text)
        if known is not None:
            return known
        if text not in self.drop:
            if self.otherwise is None or text in self.takes:
                return value
            if isinstance(self.otherwise, Default):
                coverage.default(self.field, text)
                return self.otherwise.default
        coverage.drop(f"{self.field} {text}")
        return DROPPED

    def _times(self, value: Any, factor: float) -> Any:
        """Multiply; of a text, such as an amount, the number that it writes."""
        try:
            product = round(float(value) * factor, 6)
            whole = int(product)
        except (ValueError, OverflowError):
            raise RejectedRecord("invalid", f"{self.field}: is no number") from None
        number = whole if whole == product else product
        return self.convert(self.field, number)


def translation(mapping: ColumnMapping, field: str) -> Translation:
    """Return how a mapping reads a field."""
    return Translation(
        field,
        CONVERTERS[field],
        mapping.values.get(field, {}),
        frozenset(mapping.drop.get(field, ())),
        mapping.otherwise.get(field),
        mapping.multiply.get(field),
        _TAKES.get(field, frozenset()) | (mapping.schemas.keys() if field == "event_type" else frozenset()),
    )
