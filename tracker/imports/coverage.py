"""What a mapping has found in the rows so far: how often each field had a value, and which values it did not know."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tracker.errors import ConfigurationError

#: Different unknown values that are counted by name; further ones are counted together.
MAX_NAMED_VALUES: Final = 1_000
OTHER_VALUES: Final = "other values"


class Coverage:
    """Counts for the person who imports. A column that must occur and never does is an error."""

    def __init__(self, required: Iterable[str]) -> None:
        self._missing = set(required)
        #: Field -> rows that had a value for it.
        self.filled: Counter[str] = Counter()
        #: Field and value that [values] does not list -> rows that took the default of [otherwise].
        self.defaulted: Counter[str] = Counter()
        #: The same -> rows that were dropped, as [otherwise] says.
        self.dropped: Counter[str] = Counter()

    @property
    def missing(self) -> frozenset[str]:
        """The columns that must occur and have not held anything so far."""
        return frozenset(self._missing)

    def saw(self, column: str) -> None:
        """Note that a column holds something."""
        self._missing.discard(column)

    def default(self, field: str, value: str) -> None:
        """Note a value that was unknown."""
        _count(self.defaulted, f"{field} {value}")

    def drop(self, why: str) -> None:
        """Note a row that the mapping drops."""
        _count(self.dropped, why)

    def require(self) -> None:
        """Hold that every column that must occur has occurred.

        Raises:
            ConfigurationError: names those that have not.
        """
        if self._missing:
            names = ", ".join(sorted(self._missing))
            raise ConfigurationError(
                f"no row has anything in the column {names}: correct the mapping, or write a ? behind the name of a "
                "column that may be missing. Nothing was written"
            )


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < MAX_NAMED_VALUES else OTHER_VALUES] += 1
