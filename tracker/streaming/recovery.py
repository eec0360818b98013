"""Opening leases after a rebalance: stands in for Faust's ``Recovery`` service.

One plain task per generation, cancelled by the next rebalance. Faust's own recovery resumes the flow before all
partitions are recovered and positioned when rebalances follow each other closely; here the flow may resume at once,
because nothing is fetched for a partition until its lease has been granted.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from tracker.kafka.clients import RETRY_SECONDS, is_passing
from tracker.streaming import faust_internals
from tracker.streaming.lease import Lease

log = structlog.get_logger()


class LeaseOpener(Protocol):
    """What a stage does to be ready for partitions: recover a table, read back a position."""

    def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        """Yield a lease for each partition as soon as it is ready to be folded from ``next_offset``."""

    def keep_only(self, partitions: set[TopicPartition]) -> None:
        """Release all resources of other partitions: they are no longer assigned."""


class LeaseRecovery(Service):
    """Faust's view of recovery: assigned partitions in, flow resumed. Leases follow one by one."""

    in_recovery = False
    #: Runs at the same time as the leases until the next rebalance: it follows standby partitions.
    stand_by: Callable[[], Awaitable[None]] | None = None

    def __init__(self, app: Any, opener: LeaseOpener, **kwargs: Any) -> None:
        self.app = app
        self.completed = asyncio.Event()
        self._opener = opener
        self._task: asyncio.Task[None] | None = None
        super().__init__(**kwargs)

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 - Faust's signature
        """Stop opening leases: a rebalance has begun."""
        self._cancel()

    async def on_rebalance(
        self,
        assigned: set[TopicPartition],
        revoked: set[TopicPartition],  # noqa: ARG002 - Faust's signature
        newly_assigned: set[TopicPartition],  # noqa: ARG002
        generation_id: int = 0,
    ) -> None:
        """Begin the generation: open a lease for each source partition that is ours now."""
        self._cancel()
        sources = sorted(TopicPartition(*tp) for tp in assigned if tp.topic in self.app.source_topics)
        log.info("partitions assigned", count=len(sources), group_generation=generation_id)
        self.app.leases.expect(len(sources))
        self._task = asyncio.create_task(self._run(sources, self.app.leases.generation))

    async def on_stop(self) -> None:
        """Stop opening leases: the worker stops."""
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, sources: list[TopicPartition], generation: int) -> None:
        try:
            self._opener.keep_only(set(sources))
            await self._resume_flow()
            await self._open_leases(sources, generation)
            if self.stand_by is not None:
                await self.stand_by()
        except Exception as error:  # noqa: BLE001 - whatever it is, going on could number events on an empty state
            self.app.die("opening leases failed", error)

    async def _open_leases(self, sources: list[TopicPartition], generation: int) -> None:
        """Open all leases, however long the broker is away. Leases that were granted stay granted."""
        waiting = list(sources)
        while waiting:
            try:
                async for lease in self._opener.open_leases(waiting, generation):
                    self.app.leases.grant(lease)
                    waiting = [tp for tp in waiting if tp != lease.tp]
            except KafkaError as error:
                if not is_passing(error):
                    raise
                log.warning("recovery is interrupted; trying again", left=len(waiting), error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _resume_flow(self) -> None:
        app = self.app
        await app.on_rebalance_complete.send()
        self.completed.set()
        app.flow_control.resume()
        app.consumer.resume_flow()
        await faust_internals.start_fetcher(app)
        app.tables.on_actives_ready()
        app.tables.on_standbys_ready()
        app.on_rebalance_end()
