"""Ticks: records that only move time, for partitions in which nothing else does.

State never sees a clock. When the wall clock says that a partition's next deadline has passed, its owner appends a
tick; the broker stamps it, and the fold closes all due sessions at that place in the log. A slow wall clock closes
sessions late by as much, a fast one appends useless ticks; neither closes a session early (docs/decisions/0003).
"""

import asyncio
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics.system.control import TICK_VALUE
from tracker import clock
from tracker.process.lease import SessionLease
from tracker.streaming.lease import LeaseBook

log = structlog.get_logger()

#: Usage that no record has put out waits for a tick so long: with traffic, none is needed.
USAGE_WAIT_MS: Final = 5 * 60_000


async def tick_forever(leases: LeaseBook, producer: AIOKafkaProducer, interval_ms: int) -> None:
    """Append a tick to every leased partition that has something due, at most once an interval."""
    while True:
        await asyncio.sleep(interval_ms / 1000)
        due = [lease for lease in leases.live() if isinstance(lease, SessionLease) and is_due(lease, clock.now_ms())]
        if not due:
            continue
        try:
            await asyncio.gather(
                *(producer.send_and_wait(lease.topic, TICK_VALUE, partition=lease.partition) for lease in due)
            )
        except KafkaError as error:
            log.warning("ticks could not be written; they are tried again", error=repr(error))


def is_due(lease: SessionLease, now_ms: int) -> bool:
    """Return whether a tick now would close something, or mend the changelog, and no records are on their way."""
    if not lease.alive or lease.chunks_in_flight:
        return False
    next_ms = lease.fold.deadlines.next_ms
    has_usage = lease.fold.usage.due_ms + USAGE_WAIT_MS < now_ms
    return has_usage or bool(lease.store.overwritten) or (next_ms is not None and next_ms < now_ms)
