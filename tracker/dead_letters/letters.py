"""The letters in their topic, each with its state: open, begun (a retry is under way) or retried.

The topic is read twice. The first time for the states of the letters (marks come after them, and a stage that was
killed before its commit sends some twice); the second time for the letters themselves, one after the other, so that a
million of them need no memory.
"""

from collections.abc import AsyncIterator, Container, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from topics.catalog import DEAD_LETTERS
from topics.dead_letter import DeadLetter, LetterId, RetryMark
from topics.headers import RETRY_MARK
from tracker.errors import ConfigurationError
from tracker.kafka.log_reader import LogRange, LogReader
from tracker.settings import Settings

State = Literal["open", "begun", "retried"]
ALL: Final = "all"


class Place(NamedTuple):
    """Where a letter lies in the topic of the dead letters: its name for a person."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read it back.

        Raises:
            ConfigurationError: it is no place.
        """
        partition, _, offset = text.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise ConfigurationError(f"{text!r} names no dead letter; they are called PARTITION:OFFSET, such as 3:17")
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A letter, its place and its state."""

    place: Place
    letter: DeadLetter
    state: State


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects letters; a field without a value matches all. Times are those of the last failure, [from, to)."""

    places: Container[Place] = frozenset()
    reasons: Container[str] = frozenset()
    stage: str | None = None
    workspace_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    state: str = "open"

    def takes(self, stored: StoredLetter) -> bool:
        """Return whether a letter is selected. A letter that is named by its place is, in every state."""
        if self.places:
            return stored.place in self.places
        letter = stored.letter
        return (
            (self.state in {ALL, stored.state} or (self.state == "open" and stored.state == "begun"))
            and (not self.reasons or letter.reason in self.reasons)
            and self.stage in {None, letter.stage}
            and self.workspace_id in {None, letter.workspace_id}
            and (self.from_ms is None or letter.last_failed_at_ms >= self.from_ms)
            and (self.to_ms is None or letter.last_failed_at_ms < self.to_ms)
        )


@dataclass(slots=True)
class Fates:
    """The states of the letters, as far as the topic tells."""

    ranges: Mapping[int, LogRange]
    done: set[Place] = field(default_factory=set)
    begun: dict[Place, RetryMark] = field(default_factory=dict)
    repeats: set[Place] = field(default_factory=set)
    unreadable: list[Place] = field(default_factory=list)

    def state(self, place: Place) -> State:
        """Return the state of a letter."""
        if place in self.done:
            return "retried"
        return "begun" if place in self.begun else "open"

    def note(self, place: Place, mark: RetryMark) -> None:
        """Take in a mark that lies in the letter's own partition."""
        about = Place(place.partition, mark.letter_offset)
        if mark.state == "done":
            self.done.add(about)
        else:
            # The earliest: the run that began first may have sent it.
            self.begun.setdefault(about, mark)


def place_of(record: ConsumerRecord) -> Place:
    """Return where a record of the dead letters lies."""
    return Place(record.partition, record.offset)


def read_mark(record: ConsumerRecord) -> RetryMark | None:
    """Return the mark that a record of the dead letters is, or None: it is a letter."""
    if not any(name == RETRY_MARK for name, _ in record.headers):
        return None
    return RetryMark.model_validate_json(record.value or b"")


async def read_fates(settings: Settings, reader: LogReader) -> Fates:
    """Read the states of all letters that there are now."""
    fates = Fates(await reader.ranges(DEAD_LETTERS))
    seen: set[LetterId] = set()
    name = DEAD_LETTERS.name(settings.topic_prefix)
    for partition, wanted in fates.ranges.items():
        async for records in reader.read(name, partition, wanted):
            for record in records:
                _take_fate(fates, seen, record)
    return fates


def _take_fate(fates: Fates, seen: set[LetterId], record: ConsumerRecord) -> None:
    place = place_of(record)
    try:
        mark = read_mark(record)
        if mark is not None:
            fates.note(place, mark)
            return
        found = DeadLetter.model_validate_json(record.value or b"").id
    except ValidationError:
        fates.unreadable.append(place)
        return
    if found in seen:
        fates.repeats.add(place)
    seen.add(found)


async def read_letters(
    settings: Settings, reader: LogReader, fates: Fates, meant: Filter
) -> AsyncIterator[StoredLetter]:
    """Yield the letters that are meant, partition by partition in order, each failure once."""
    name = DEAD_LETTERS.name(settings.topic_prefix)
    unreadable = set(fates.unreadable)
    for partition, wanted in fates.ranges.items():
        async for records in reader.read(name, partition, wanted):
            for record in records:
                place = place_of(record)
                if place in unreadable or place in fates.repeats or read_mark(record) is not None:
                    continue
                stored = StoredLetter(place, DeadLetter.model_validate_json(record.value or b""), fates.state(place))
                if meant.takes(stored):
                    yield stored
