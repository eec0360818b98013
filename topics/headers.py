"""The headers of output records: they let every consumer take each one once.

``source-position`` is ``partition:offset:index``: the source record, and the place among that record's outputs (one
tick can close many sessions, always in the same order). Within one partition of an output topic each new output has a
higher (offset, index) than all before it, so a consumer drops every output that has not. Release 0.1.0 wrote the
position as three headers; they are still read.

A repeated output has the same bytes and the same source record, but its index may be lower: after a kill between two
batches of one chunk's states, a session that was in the first batch says nothing a second time, and the record's other
outputs move up. All of the chunk's outputs had been acked by then, since outputs come before states; so every repeat,
moved up or not, lies behind what its reader has had, and the position that counts is always that of the first time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

SOURCE_POSITION: Final = "source-position"

#: The three headers of 0.1.0. On a removal in the changelog ``source-offset`` is still the offset that removed the row.
SOURCE_PARTITION: Final = "source-partition"
SOURCE_OFFSET: Final = "source-offset"
SOURCE_INDEX: Final = "source-index"

#: On the first output of a chunk for each topic: the source log's time for the chunk's oldest record, in milliseconds.
#: It measures the way to Tinybird and nothing else: where chunks are cut differs from run to run.
SOURCE_TIME_MS: Final = "source-time-ms"

#: The W3C trace context of a record that is traced: of the source record, and copied to the numbered event.
TRACEPARENT: Final = "traceparent"
#: As version 00 has it; nothing else is copied.
_TRACEPARENT_BYTES: Final = 55

#: Marks an output record without a row: the sink ships the rows of this partition that it holds.
FLUSH: Final = "flush"

#: On a record that came back from the dead letters: how often it has been sent again, when it failed first, and its
#: letter's ``partition:offset``. They are headers because its value may be no JSON that we could add them to.
RETRY_COUNT: Final = "retry-count"
FIRST_FAILED_AT_MS: Final = "first-failed-at-ms"
RETRY_OF: Final = "retry-of"

#: In the dead letters: not a letter, but a RetryMark about one.
RETRY_MARK: Final = "retry-mark"

#: On a record that can't be decoded: the reason. Readers put it there (``tracker.kafka.record_decoding``).
UNDECODABLE: Final = "undecodable"
#: On such a record: a part that is not whole, as ``part:size in bytes:SHA-256 of the whole part``.
CUT: Final = "cut"

#: On the placeholder of a record that an operator skips: the reason (``topics.system.history``). Readers put it there.
SKIPPED: Final = "skipped"

#: Set by producers that want to be told apart in dead letters.
PRODUCER_CLIENT_ID: Final = "producer-client-id"

#: On a record that was forwarded to the partition of its key: where it stood first, ``partition:offset``.
FORWARDED_FROM: Final = "forwarded-from"
#: On the same record: proves that a processor of ours has forwarded it (``tracker.sessions.forwards``).
FORWARD_SEAL: Final = "forward-seal"
_MAX_PLACE_BYTES: Final = 32
#: Kafka's own limits.
_MAX_PARTITION: Final = 2**31 - 1
_MAX_OFFSET: Final = 2**63 - 1
_MAX_COUNT_DIGITS: Final = 7
_MAX_TIME_DIGITS: Final = 15

#: How many headers carry the position; there may be something else if there are more.
POSITION_HEADERS: Final = 1

Headers = list[tuple[str, bytes]]


#: Why a record is not to be read: a dead letter's reason, and its detail.
Unreadable = tuple[Literal["undecodable", "skipped"], str]


class LogPlace(NamedTuple):
    """A record's place in a topic."""

    partition: int
    offset: int

    def encode(self) -> bytes:
        """Return it as the value of a header."""
        return b"%d:%d" % self


class SourcePosition(NamedTuple):
    """Where an output comes from; positions of one partition are ordered as their outputs are."""

    offset: int
    #: Its place among the outputs of that source record. (``index`` is a tuple's own method.)
    nth: int

    def __str__(self) -> str:
        return f"{self.offset}:{self.nth}"


def write_position(partition: int, offset: int, nth: int) -> Headers:
    """Return the position of an output as the first of its headers, which is where it is found fastest."""
    return position_writer(partition)(offset, nth)


def position_writer(partition: int) -> Callable[[int, int], Headers]:
    """Return ``write_position`` for the outputs of one partition: half the time, since one number less is formatted."""
    form = b"%d:%%d:%%d" % partition
    return lambda offset, nth: [(SOURCE_POSITION, form % (offset, nth))]


def write_old_position(partition: int, offset: int, nth: int) -> Headers:
    """Return the position of an output as release 0.1.0 reads it."""
    return [(SOURCE_PARTITION, b"%d" % partition), (SOURCE_OFFSET, b"%d" % offset), (SOURCE_INDEX, b"%d" % nth)]


def read_position(headers: Sequence[tuple[str, bytes]]) -> SourcePosition | None:
    """Return the position that the headers carry, or None if they carry none that makes sense. About 0.4 us."""
    try:
        name, value = headers[0]
        if name != SOURCE_POSITION:
            found = dict(headers)
            value = found.get(SOURCE_POSITION) or b"0:%b:%b" % (found[SOURCE_OFFSET], found[SOURCE_INDEX])
        _, offset, nth = value.split(b":")
        return SourcePosition(int(offset), int(nth))
    except (IndexError, KeyError, ValueError):
        return None


def was_sent_again(headers: Sequence[tuple[str, bytes]]) -> bool:
    """Return whether a record came back from the dead letters."""
    return any(name == RETRY_OF for name, _ in headers)


def read_forwarded_from(headers: Iterable[tuple[str, bytes]]) -> LogPlace | None:
    """Return where a forwarded record stood first, or None if it says nothing that makes sense."""
    raw = dict(headers).get(FORWARDED_FROM)
    if raw is None or len(raw) > _MAX_PLACE_BYTES:
        return None
    partition, _, offset = raw.partition(b":")
    if not (partition.isdigit() and offset.isdigit()):
        return None
    place = LogPlace(int(partition), int(offset))
    return place if place.partition <= _MAX_PARTITION and place.offset <= _MAX_OFFSET else None


def read_unreadable(headers: Iterable[tuple[str, bytes | None]]) -> Unreadable | None:
    """Return why a record is not to be read, or None if it is. Foreign headers of these names count, too."""
    for name, value in headers:
        if name == UNDECODABLE:
            return "undecodable", (value or b"").decode(errors="replace")
        if name == SKIPPED:
            return "skipped", (value or b"").decode(errors="replace")
    return None


def read_traceparent(headers: Iterable[tuple[str, bytes]]) -> bytes | None:
    """Return the trace context of a record, or None if it has none of the one length that there is."""
    raw = dict(headers).get(TRACEPARENT)
    return raw if raw is not None and len(raw) == _TRACEPARENT_BYTES else None


def read_source_time_ms(headers: Iterable[tuple[str, bytes]]) -> int | None:
    """Return when the log took the oldest record of the chunk that an output began, or None if it began none."""
    raw = dict(headers).get(SOURCE_TIME_MS)
    return int(raw) if raw is not None and len(raw) <= _MAX_TIME_DIGITS and raw.isdigit() else None


def read_retry_count(headers: Iterable[tuple[str, bytes]]) -> int:
    """Return how often a record has been sent again, as its headers say; 0 if they say nothing that makes sense."""
    raw = dict(headers).get(RETRY_COUNT)
    return int(raw) if raw is not None and len(raw) <= _MAX_COUNT_DIGITS and raw.isdigit() else 0
