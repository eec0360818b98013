"""How far behind each partition is: the log's end against the checkpoints."""

import asyncio
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from tracker.process import metrics
from tracker.process.lease import SessionLease
from tracker.streaming.app import ChunkApp

log = structlog.get_logger()

LAG_INTERVAL_SECONDS: Final = 5.0


async def watch_lag(app: ChunkApp) -> None:
    """Show for each partition that this worker may fold how many source records it has not checkpointed."""
    while True:
        leases = [lease for lease in app.leases.live() if isinstance(lease, SessionLease)]
        try:
            ends = await app.chunk_consumer.thread.log_ends([lease.tp for lease in leases]) if leases else {}
        except KafkaError as error:
            log.warning("the lag could not be asked for", error=repr(error))
        else:
            metrics.LAG_RECORDS.clear()  # of partitions that have gone elsewhere, their new owner tells
            for lease in leases:
                metrics.LAG_RECORDS.labels(str(lease.partition)).set(max(0, ends[lease.tp] - lease.watermark - 1))
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
