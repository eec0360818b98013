"""How far behind each partition is: the log's end against what has been settled."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog
from aiokafka.errors import KafkaError

from tracker.streaming.app import ChunkApp
from tracker.streaming.lease import Lease

log = structlog.get_logger()

LAG_INTERVAL_SECONDS: Final = 5.0

AnyLease = TypeVar("AnyLease", bound=Lease)


async def watch_lag(
    app: ChunkApp,
    kind: type[AnyLease],
    next_offset: Callable[[AnyLease], int],
    show: Callable[[Sequence[tuple[AnyLease, int]]], None],
) -> None:
    """Show now and then how many records each leased partition holds from ``next_offset`` of its lease on."""
    while True:
        leases = [lease for lease in app.leases.live() if isinstance(lease, kind)]
        try:
            ends = await app.chunk_consumer.thread.log_ends([lease.tp for lease in leases]) if leases else {}
        except KafkaError as error:
            log.warning("the lag could not be asked for", error=repr(error))
        else:
            show([(lease, max(0, ends[lease.tp] - next_offset(lease))) for lease in leases])
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
