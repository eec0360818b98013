"""Opening session leases: each assigned partition's table is brought up to the changelog's end first.

A standby is the same reading, never ending: its store is handed over warm when its partition becomes ours.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import perf_counter
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from topics.schemas import NO_SCHEMAS, Schemas
from tracker.errors import DiskFullError, StateDamagedError
from tracker.history.reading import read_skips
from tracker.kafka.clients import RETRY_SECONDS, is_passing
from tracker.process import metrics
from tracker.process.assumptions import LogId
from tracker.process.lease import Lifetimes, SessionLease, read_lifetimes, remove_orphaned_pages
from tracker.sessions.fold import PartitionOf
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.rules import Rules
from tracker.streaming.lease import Lease
from tracker.table.changelog import follow, read_to_end
from tracker.table.store import SessionStore

log = structlog.get_logger()

#: A store that is damaged again right after it was rebuilt is on a disk that no rebuilding helps.
MAX_REBUILDS: Final = 3


class SessionRecovery:
    """Keeps the stores of this worker, hands out leases on those that have caught up, and follows standbys.

    ``standbys`` names the partitions that the assignor gave us as standbys in the current generation.
    """

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
        standbys: Callable[[], frozenset[int]] = frozenset,
        log_id: LogId = LogId(),  # noqa: B008 - it is immutable
        seal: ForwardSeal = ForwardSeal(),  # noqa: B008 - it is immutable
        schemas: Schemas = NO_SCHEMAS,
        history_topic: str = "",
    ) -> None:
        self._state_dir = state_dir
        self._changelog_topic = changelog_topic
        self._partition_of = partition_of
        self._rules = rules
        self._cache_max_sessions = cache_max_sessions
        self._new_reader = new_reader
        self._open_store = open_store
        self._standbys = standbys
        self._log_id = log_id
        self._seal = seal
        self._schemas = schemas
        self._history_topic = history_topic
        self._stores: dict[int, SessionStore] = {}
        self._lag_rows: dict[int, int] = {}

    async def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        """Recover the partitions together and yield each one's lease as soon as it is ready.

        Stores that are found damaged on the way are rebuilt.
        """
        behind = {tp.partition: tp for tp in partitions}
        rebuilds = 0
        while behind:
            try:
                async for lease in self._recover(behind, generation):
                    del behind[lease.partition]
                    yield lease
            except StateDamagedError as error:
                rebuilds += 1
                if rebuilds > MAX_REBUILDS:
                    raise
                log.warning("local state is damaged; it is rebuilt from the changelog", error=str(error))
                self._close(set(behind))
            except DiskFullError as error:
                log.error("the disk is full; recovery waits", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._close(set(behind))

    async def _recover(self, behind: dict[int, TopicPartition], generation: int) -> AsyncIterator[SessionLease]:
        began = perf_counter()
        stores = {number: self._store(number) for number in behind}
        partitions = dict(behind)
        async with self._new_reader() as reader:
            starts = await reader.beginning_offsets(list(partitions.values()))
            skips = await read_skips(reader, self._history_topic, partitions) if self._history_topic else {}
            async for number, rows_read in read_to_end(reader, self._changelog_topic, stores):
                tp = partitions[number]
                remove_orphaned_pages(stores[number])
                lifetimes = await read_lifetimes(stores[number], self._rules)
                lease = self._lease(tp, generation, starts[tp], lifetimes)
                lease.skips = skips.get(number, {})
                seconds = perf_counter() - began
                metrics.RECOVERY_SECONDS.observe(seconds)
                log.info(
                    "partition ready",
                    partition=number,
                    next_offset=lease.next_offset,
                    rows_read=rows_read,
                    sessions=lifetimes.known_sessions,
                    seconds=round(seconds, 2),
                )
                yield lease
                await asyncio.sleep(0)

    def _lease(self, tp: TopicPartition, generation: int, log_start_offset: int, lifetimes: Lifetimes) -> SessionLease:
        store = self._stores[tp.partition]
        watermark, mark = store.watermark()
        self._log_id.require_same(mark, tp.topic)
        if 0 <= watermark < log_start_offset - 1:
            log.error(
                "records were deleted by retention before they were processed",
                partition=tp.partition,
                first_lost=watermark + 1,
                first_left=log_start_offset,
            )
            metrics.LOST_RECORDS.inc(log_start_offset - watermark - 1)
        return SessionLease(
            tp,
            generation,
            log_id=self._log_id,
            seal=self._seal,
            schemas=self._schemas,
            store=store,
            partition_of=self._partition_of,
            rules=self._rules,
            cache_max_sessions=self._cache_max_sessions // max(1, len(self._stores) - len(self._standbys())),
            log_start_offset=log_start_offset,
            lifetimes=lifetimes,
        )

    async def stand_by(self) -> None:
        """Follow the changelog of our standby partitions until cancelled; returns at once if there are none."""
        while numbers := self._standbys():
            try:
                stores = {number: self._store(number) for number in numbers}
                log.info("standing by", partitions=sorted(numbers))
                async with self._new_reader() as reader:
                    await follow(reader, self._changelog_topic, stores, self._note_lag)
            except KafkaError as error:
                if not is_passing(error):
                    raise
                log.warning("the changelog can't be followed; trying again", error=repr(error))
            except StateDamagedError as error:
                log.warning("a standby's state is damaged; it is rebuilt from the changelog", error=str(error))
                self._close(set(numbers))
            except DiskFullError as error:
                log.error("the disk is full; standbys wait", error=str(error))
                self._close(set(numbers))
            await asyncio.sleep(RETRY_SECONDS)

    def _note_lag(self, partition: int, rows: int) -> None:
        self._lag_rows[partition] = rows
        metrics.STANDBY_LAG.set(sum(self._lag_rows.values()))

    def keep_only(self, partitions: set[TopicPartition]) -> None:
        """Close the stores of partitions that went elsewhere; their files stay, for the day they come back."""
        kept = {tp.partition for tp in partitions} | self._standbys()
        self._lag_rows = {number: rows for number, rows in self._lag_rows.items() if number in self._standbys()}
        metrics.STANDBY_LAG.set(sum(self._lag_rows.values()))
        self._close(set(self._stores) - kept)

    def store(self, partition: int) -> SessionStore | None:
        """Return a partition's store if this worker has it open."""
        return self._stores.get(partition)

    def lag_rows(self, partition: int) -> int | None:
        """Return how many rows a standby is behind the changelog, or None if it is not known."""
        return self._lag_rows.get(partition)

    def close(self) -> None:
        """Close all stores."""
        self._close(set(self._stores))

    def _close(self, numbers: set[int]) -> None:
        """Close the open stores of these partitions. A damaged one has left a mark: its next opening begins anew."""
        for number in numbers & self._stores.keys():
            self._stores.pop(number).close()

    def _store(self, number: int) -> SessionStore:
        if number not in self._stores:
            self._stores[number] = self._open_store(self._state_dir / f"partition-{number}")
        return self._stores[number]
