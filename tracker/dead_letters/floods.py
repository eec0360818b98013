"""Floods of dead letters: senders of so many bad records that an operator has to look.

A sender is a producer and a workspace, as the letters name them. Its flood raises an alarm but stops nothing: its
letters are still written, and so are all rows. TRACKER_DEAD_LETTER_STOP makes a stage stop when most records of a
partition become letters.

Pure: counted in records of a partition, not in time, so it decides the same at any speed. The stage looks before it
has any effect, so where it stops, nothing of the failing chunk is written or committed.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog
from prometheus_client import Gauge

from topics.dead_letter import DeadLetter
from tracker.errors import ConfigurationError
from tracker.settings import Settings

log = structlog.get_logger()

#: Floods that are told apart; names of senders come from outside, so there may be any number of them.
MAX_FLOODS: Final = 20
UNNAMED: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class FloodLimit:
    """A flood: at least ``min_letters`` of one sender among a partition's last ``window_records`` records.

    With ``stops``, the process ends where letters are also more than ``max_percent`` of those records.
    """

    window_records: int
    min_letters: int
    max_percent: int
    stops: bool

    @classmethod
    def of(cls, settings: Settings) -> "FloodLimit":
        """Return the limit of a deployment."""
        return cls(
            settings.dead_letter_window_records,
            settings.dead_letter_min_letters,
            settings.dead_letter_max_percent,
            settings.dead_letter_stop,
        )


class TooManyDeadLetters(ConfigurationError):  # noqa: N818 - the name describes the log
    """The operator has to look: after some change, most records are rejected."""


class Sender(NamedTuple):
    """Who sent records: the producer that they name, and their workspace."""

    producer: str
    workspace: str

    def __str__(self) -> str:
        return f"producer {self.producer} in workspace {self.workspace}"


class Noted(NamedTuple):
    """A letter that was counted."""

    offset: int
    sender: Sender


@dataclass(slots=True)
class _Window:
    """The letters of one partition's last records, in the order of their offsets."""

    noted: list[Noted] = field(default_factory=list)
    by_sender: Counter[Sender] = field(default_factory=Counter)
    end: int = 0

    def add(self, one: Noted) -> bool:
        at = bisect_left(self.noted, one)
        if self.noted[at : at + 1] == [one]:
            return False  # folded again, because its lease had died
        self.noted.insert(at, one)  # the sink's requests may end in another order than they began
        self.by_sender[one.sender] += 1
        return True

    def forget_before(self, offset: int) -> None:
        gone = bisect_left(self.noted, offset, key=lambda one: one.offset)
        if gone:
            self.by_sender -= Counter(one.sender for one in self.noted[:gone])
            del self.noted[:gone]

    @property
    def records(self) -> int:
        return self.noted[-1].offset - self.noted[0].offset + 1


class Floods:
    """Counts the letters of each partition's last records, and says whose are too many."""

    def __init__(self, limit: FloodLimit, gauge: Gauge) -> None:
        """Begin with no flood. ``gauge`` has the labels ``producer`` and ``workspace``."""
        self._limit = limit
        self._gauge = gauge
        self._windows: dict[tuple[str, int], _Window] = {}
        self._floods: dict[Sender, int] = {}

    def note(self, letter: DeadLetter) -> None:
        """Count a letter that is about to be sent.

        A record that was sent again counts for nothing: it is known to be bad, and an operator wanted to know if it
        still is.

        Raises:
            TooManyDeadLetters: the deployment wants to stop here: don't send it.
        """
        if letter.retry_count:
            return
        window = self._windows.setdefault((letter.source_topic, letter.source_partition), _Window())
        sender = Sender(letter.producer_client_id or UNNAMED, letter.workspace_id or UNNAMED)
        if not window.add(Noted(letter.source_offset, sender)):
            return
        self._move(window, letter.source_offset + 1)
        self._require_fewer(window, letter)
        if window.by_sender[sender] >= self._limit.min_letters and sender not in self._floods:
            log.error(
                "a flood of dead letters; nothing else is held up by it",
                producer=sender.producer,
                workspace=sender.workspace,
                letters=window.by_sender[sender],
                of_last_records=self._limit.window_records,
                partition=f"{letter.source_topic}-{letter.source_partition}",
                reason=letter.reason,
                detail=letter.detail,
            )
        self._recount()

    def passed(self, topic: str, partition: int, offset: int) -> None:
        """Note that all records of a partition before an offset have been worked on: a flood ends when few are bad."""
        window = self._windows.get((topic, partition))
        if window is not None and window.noted:
            self._move(window, offset)
            self._recount()

    @property
    def lines(self) -> Sequence[str]:
        """The floods that there are, for people."""
        window = self._limit.window_records
        return [
            f"a flood of dead letters: {letters} of {window} records of {sender} (tracker dead-letters list)"
            for sender, letters in self._floods.items()
        ]

    def _move(self, window: _Window, end: int) -> None:
        window.end = max(window.end, end)
        window.forget_before(window.end - self._limit.window_records)

    def _recount(self) -> None:
        """Find the floods in the counts. A flood ends below half of the number that begins one."""
        found: Counter[Sender] = Counter()
        for window in self._windows.values():
            for sender, letters in window.by_sender.items():
                least = self._limit.min_letters if sender not in self._floods else self._limit.min_letters / 2
                if letters >= least:
                    found[sender] = max(found[sender], letters)
        for ended in self._floods.keys() - found.keys():
            log.info("a flood of dead letters has ended", producer=ended.producer, workspace=ended.workspace)
        if not found and not self._floods:
            return
        self._floods = dict(found.most_common(MAX_FLOODS))
        self._gauge.clear()
        for sender, letters in self._floods.items():
            self._gauge.labels(*sender).set(letters)

    def _require_fewer(self, window: _Window, letter: DeadLetter) -> None:
        letters, records = len(window.noted), window.records
        if not self._limit.stops or letters < self._limit.min_letters:
            return
        if letters * 100 > records * self._limit.max_percent:
            raise TooManyDeadLetters(
                f"{letters} of the last {records} records of {letter.source_topic}-{letter.source_partition} can't be "
                f"taken, the last one (offset {letter.source_offset}) because it is {letter.reason}: "
                f"{letter.detail!r}. More than {self._limit.max_percent} % look like a mistake, so nothing more is "
                "taken. Put back what was deployed last and start again; or, if they are to become dead letters, "
                "start with TRACKER_DEAD_LETTER_STOP=false"
            )
