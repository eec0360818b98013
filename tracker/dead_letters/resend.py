"""The record that is sent again for a letter, and its topic: pure, no clock, no IO.

The front door of a record that the processor rejected is the source topic: it took no number, and takes one now. A row
that the sink could not place has its number already, so its front door is the output topic that it came from: the
sink takes it although it has seen its position, and it is the same row with the same id, which can't double anything.
A row of usage is told apart by all that it counts for, so that holds for it too.
"""

from dataclasses import dataclass
from typing import Final

import orjson

from topics.catalog import FRONT_DOORS, MAX_SOURCE_BATCH_BYTES, SOURCE
from topics.dead_letter import DeadLetter
from topics.headers import CUT, FIRST_FAILED_AT_MS, RETRY_COUNT, RETRY_OF, UNDECODABLE, Headers
from tracker.dead_letters.letters import Place, StoredLetter
from tracker.kafka.clients import partition_for_key
from tracker.sessions.keys import missing_event_id
from tracker.settings import Settings

#: What a record batch needs besides the record, and the headers that are added.
BATCH_OVERHEAD_BYTES: Final = 1_024
_ENVELOPES: Final = frozenset({"event", "session", "expire", "flush"})
_OURS: Final = frozenset({RETRY_COUNT, FIRST_FAILED_AT_MS, RETRY_OF, UNDECODABLE, CUT})


@dataclass(frozen=True, slots=True)
class Resend:
    """One record to send, for one letter."""

    place: Place
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Skipped:
    """A letter whose record is not sent again, and why."""

    place: Place
    why: str


def plan(stored: StoredLetter, settings: Settings, source_partitions: int) -> Resend | Skipped:
    """Decide which record is sent for a letter."""
    letter, place = stored.letter, stored.place
    if stored.state == "retried":
        return Skipped(place, "sent again already")
    if letter.retry_count >= settings.dead_letter_max_retries:
        return Skipped(place, f"tried {letter.attempts} times (TRACKER_DEAD_LETTER_MAX_RETRIES)")
    front_doors = {topic.name(settings.topic_prefix): topic for topic in FRONT_DOORS}
    front_door = front_doors.get(letter.source_topic)
    if front_door is None or (front_door is SOURCE) != (letter.stage == "process"):
        return Skipped(place, f"{letter.source_topic} takes no records from here")
    if letter.cut:
        whole = f"{letter.source_topic}-{letter.source_partition} offset {letter.source_offset}"
        return Skipped(place, f"cut; the whole record is at {whole}, as long as retention keeps it")
    value = _source_value(letter) if front_door is SOURCE else letter.value
    if sum(map(len, (letter.key or b"", value or b""))) > MAX_SOURCE_BATCH_BYTES - BATCH_OVERHEAD_BYTES:
        return Skipped(place, "larger than its topic takes")
    is_keyed_source = front_door is SOURCE and letter.key is not None
    return Resend(
        place=place,
        topic=letter.source_topic,
        partition=partition_for_key(letter.key or b"", source_partitions)
        if is_keyed_source
        else letter.source_partition,
        key=letter.key,
        value=value,
        headers=_headers(letter, place),
    )


def _headers(letter: DeadLetter, place: Place) -> Headers:
    return [
        *((name, value) for name, value in letter.headers if value is not None and name not in _OURS),
        (RETRY_COUNT, b"%d" % (letter.retry_count + 1)),
        (FIRST_FAILED_AT_MS, b"%d" % letter.first_failed_at_ms),
        (RETRY_OF, str(place).encode()),
    ]


def _source_value(letter: DeadLetter) -> bytes | None:
    """Return the value with its envelope's ``retry_count`` set, where it has an envelope that we can write into.

    An event without an id gets the one that its first place in the log would have given it: if it is sent twice after
    all, the session knows the second as a duplicate.
    """
    value = letter.value
    try:
        record = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return value
    if not isinstance(record, dict) or record.get("type") not in _ENVELOPES:
        return value
    record["retry_count"] = letter.retry_count + 1
    data, key = record.get("data"), record.get("session_id")
    if record["type"] == "event" and isinstance(data, dict) and isinstance(key, str) and not data.get("event_id"):
        data["event_id"] = missing_event_id(key, letter.source_partition, letter.source_offset)
    return orjson.dumps(record)
