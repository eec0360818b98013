"""Committing W + 1 for the group: for lag tools and commands. No processor ever goes on from it."""

import asyncio

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from tracker import clock
from tracker.kafka.spread import encode_spread
from tracker.process import metrics
from tracker.process.lease import SessionLease
from tracker.streaming.app import ChunkApp

log = structlog.get_logger()


async def commit_forever(app: ChunkApp, interval_ms: int) -> None:
    """Commit the watermarks that have moved, every interval."""
    committed: dict[int, int] = {}
    while True:
        await asyncio.sleep(interval_ms / 1000)
        leases = [lease for lease in app.leases.live() if isinstance(lease, SessionLease)]
        _observe(leases)
        fresh = {lease.partition: lease for lease in leases if committed.get(lease.partition) != lease.watermark}
        if not fresh:
            continue
        marks = {number: lease.watermark for number, lease in fresh.items()}
        offsets = {
            lease.tp: OffsetAndMetadata(marks[number] + 1, encode_spread(lease.mark.partitions))
            for number, lease in fresh.items()
        }
        try:
            if await app.chunk_consumer.thread.commit_group(offsets):
                committed.update(marks)
        except KafkaError as error:
            log.warning("group commit failed; it is tried again", error=repr(error))


def _observe(leases: list[SessionLease]) -> None:
    """Set the gauges of leases, sessions and stream time."""
    now_ms = clock.now_ms()
    metrics.LEASES.set(len(leases))
    metrics.OPEN_SESSIONS.set(sum(lease.open_sessions for lease in leases))
    metrics.KNOWN_SESSIONS.set(sum(lease.known_sessions for lease in leases))
    # A partition that never had a record has no stream time, and one without open sessions needs none.
    times_ms = [lease.fold.stream_time_ms for lease in leases if lease.open_sessions]
    metrics.STREAM_TIME_LAG.set(max(0, now_ms - min(times_ms)) / 1000 if times_ms else 0)
