"""The limit on the rate of dead letters: a bad deploy stops the process before it turns everything into letters.

Pure: counted in records of a partition, not in time, so it decides the same at any speed. The stage looks before it
has any effect, so nothing of the failing chunk is written or committed, and the records are there for a better version.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from topics.dead_letter import DeadLetter
from tracker.errors import ConfigurationError
from tracker.settings import Settings


@dataclass(frozen=True, slots=True)
class LetterLimit:
    """Too many: at least ``min_letters``, and more than ``max_percent`` of a partition's last ``window_records``."""

    max_percent: int
    window_records: int
    min_letters: int

    @classmethod
    def of(cls, settings: Settings) -> "LetterLimit":
        """Return the limit of a deployment."""
        return cls(
            settings.dead_letter_max_percent,
            settings.dead_letter_window_records,
            settings.dead_letter_min_letters,
        )


class TooManyDeadLetters(ConfigurationError):  # noqa: N818 - named for what it says of the log
    """The operator has to look: whatever changed, most records don't fit it."""


class LetterRate:
    """Remembers the letters of each partition's last records."""

    def __init__(self, limit: LetterLimit) -> None:
        self._limit = limit
        #: In order; never more than the window's records.
        self._offsets: dict[tuple[str, int], list[int]] = {}

    def note(self, letter: DeadLetter) -> None:
        """Count a letter that is about to be sent.

        A record that was sent again counts for nothing: it is known to be bad, and an operator wanted to know if it
        still is. Neither does one that comes a second time, because its lease had died.

        Raises:
            TooManyDeadLetters: don't send it, stop.
        """
        offset = letter.source_offset
        noted = self._offsets.setdefault((letter.source_topic, letter.source_partition), [])
        at = bisect_left(noted, offset)  # the sink's requests may end in another order than they began
        if letter.retry_count or noted[at : at + 1] == [offset]:
            return
        noted.insert(at, offset)
        del noted[: bisect_right(noted, noted[-1] - self._limit.window_records)]
        records = noted[-1] - noted[0] + 1
        if len(noted) >= self._limit.min_letters and len(noted) * 100 > records * self._limit.max_percent:
            raise TooManyDeadLetters(self._explain(letter, len(noted), records))

    def _explain(self, letter: DeadLetter, letters: int, records: int) -> str:
        return (
            f"{letters} of the last {records} records of {letter.source_topic}-{letter.source_partition} can't be "
            f"taken, the last one (offset {letter.source_offset}) because it is {letter.reason}: {letter.detail!r}. "
            f"More than {self._limit.max_percent} % look like a mistake, so nothing more is taken. Put back what was "
            "deployed last and start again; or, if they are to become dead letters, "
            "start with TRACKER_DEAD_LETTER_MAX_PERCENT=100"
        )
