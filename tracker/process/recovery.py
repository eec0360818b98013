"""Opening session leases: each assigned partition's table is brought up to the changelog's end first."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from tracker.process.lease import SessionLease
from tracker.sessions.fold import PartitionOf
from tracker.sessions.rules import Rules
from tracker.streaming.lease import Lease
from tracker.table.changelog import read_to_end
from tracker.table.store import SessionStore

log = structlog.get_logger()


class SessionRecovery:
    """Keeps the stores of this worker, and hands out leases on those that have caught up."""

    def __init__(
        self,
        *,
        state_dir: Path,
        changelog_topic: str,
        partition_of: PartitionOf,
        rules: Rules,
        cache_max_sessions: int,
        new_reader: Callable[[], AIOKafkaConsumer],
        open_store: Callable[[Path], SessionStore] = SessionStore,
    ) -> None:
        self._state_dir = state_dir
        self._changelog_topic = changelog_topic
        self._partition_of = partition_of
        self._rules = rules
        self._cache_max_sessions = cache_max_sessions
        self._new_reader = new_reader
        self._open_store = open_store
        self._stores: dict[int, SessionStore] = {}

    async def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        """Recover the partitions together and yield each one's lease as soon as it is ready."""
        by_number = {tp.partition: tp for tp in partitions}
        if not by_number:
            return
        stores = {number: self._store(number) for number in by_number}
        async with self._new_reader() as reader, self._new_reader() as source:
            starts = await source.beginning_offsets(partitions)
            async for number, changed in read_to_end(reader, self._changelog_topic, stores):
                lease = self._lease(by_number[number], generation, starts[by_number[number]])
                log.info("partition ready", partition=number, next_offset=lease.next_offset, rows_read=len(changed))
                yield lease
                await asyncio.sleep(0)

    def _lease(self, tp: TopicPartition, generation: int, log_start_offset: int) -> SessionLease:
        store = self._stores[tp.partition]
        watermark, _ = store.watermark()
        if 0 <= watermark < log_start_offset - 1:
            log.error(
                "records were deleted by retention before they were processed",
                partition=tp.partition,
                first_lost=watermark + 1,
                first_left=log_start_offset,
            )
        return SessionLease(
            tp,
            generation,
            store=store,
            partition_of=self._partition_of,
            rules=self._rules,
            cache_max_sessions=self._cache_max_sessions,
            log_start_offset=log_start_offset,
        )

    def keep_only(self, partitions: set[TopicPartition]) -> None:
        """Close the stores of partitions that went elsewhere; their files stay, for the day they come back."""
        numbers = {tp.partition for tp in partitions}
        for number in [number for number in self._stores if number not in numbers]:
            self._stores.pop(number).close()

    def store(self, partition: int) -> SessionStore | None:
        """Return a partition's store if this worker has it open."""
        return self._stores.get(partition)

    def close(self) -> None:
        """Close all stores."""
        self.keep_only(set())

    def _store(self, number: int) -> SessionStore:
        if number not in self._stores:
            self._stores[number] = self._open_store(self._state_dir / f"partition-{number}")
        return self._stores[number]
