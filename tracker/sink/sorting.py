"""Telling rows from repeats, markers and records that are none of ours, a chunk at a time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from topics.dead_letter import RejectReason
from topics.headers import FLUSH, POSITION_HEADERS, read_position, was_sent_again
from tracker.sink.positions import SeenPositions


@dataclass(slots=True)
class Sorted:
    """What a chunk's records are."""

    rows: list[ConsumerRecord] = field(default_factory=list)
    odd: list[tuple[ConsumerRecord, RejectReason, str]] = field(default_factory=list)
    duplicates: int = 0
    #: A flush marker, or the end of a session, asks to ship all held rows now.
    has_flush: bool = False


def sort_records(records: Sequence[ConsumerRecord], seen: SeenPositions) -> Sorted:
    """Sort consecutive records of one output partition, and remember in ``seen`` which they were."""
    result = Sorted()
    add_row, is_new = result.rows.append, seen.is_new
    for record in records:
        headers = record.headers
        position = read_position(headers)
        if position is None:
            result.odd.append((record, "no_position", "an output record carries its source position in headers"))
            continue
        if not is_new(position) and not was_sent_again(headers):
            result.duplicates += 1
            continue
        is_flush = len(headers) > POSITION_HEADERS and any(name == FLUSH for name, _ in headers)
        result.has_flush |= is_flush
        value = record.value
        if not value:
            if not is_flush:
                result.odd.append((record, "empty_value", "neither a row nor a flush marker"))
        elif b"\n" in value:
            result.odd.append((record, "invalid", "a row has to be one line of JSON"))
        else:
            add_row(record)
    return result
