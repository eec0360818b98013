"""A worker whose leases recovery opens, on the partition of ``one_partition``."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from tests.sessions_log import START_MS
from tests.simulation.broker import CHANGELOG_TOPIC, SOURCE_TOPIC
from tests.simulation.disk import MemoryDatabase
from tests.unit.process.one_partition import TP, OnePartition
from tracker.errors import StateDamagedError
from tracker.process.assumptions import LogId
from tracker.process.lease import SessionLease
from tracker.process.recovery import SessionRecovery
from tracker.table.store import SessionStore

OTHER = TopicPartition(SOURCE_TOPIC, 0)


class Damageable(MemoryDatabase):
    """A database that can't be iterated as often as its disk says, and then finds itself damaged."""

    damages_left = 0
    struck = 0

    def items(self) -> Any:
        cls = type(self)
        if cls.damages_left:
            cls.damages_left -= 1
            cls.struck += 1
            self._disk.files[self._path].clear()
            raise StateDamagedError("corruption")
        return super().items()


class Worker(OnePartition):
    """A partition whose lease is opened by recovery."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.standby_numbers: frozenset[int] = frozenset()
        self.log_starts: dict[TopicPartition, int] = {}
        self.database: type[MemoryDatabase] = MemoryDatabase
        self.log_id = LogId()
        #: Further arguments of the recovery.
        self.more: dict[str, Any] = {}
        self.recovery = self.new_recovery()

    def new_recovery(self) -> SessionRecovery:
        return SessionRecovery(
            state_dir=Path("sessions"),
            changelog_topic=CHANGELOG_TOPIC,
            partition_of=self.log.partition_of,
            rules=self.rules,
            cache_max_sessions=self.cache_max_sessions,
            new_reader=self.reader,
            open_store=self.open,
            standbys=lambda: self.standby_numbers,
            log_id=self.log_id,
            **self.more,
        )

    def open(self, path: Path) -> SessionStore:
        return SessionStore(path, lambda at: self.database(at, self.disk), now_ms=lambda: self.env.now_ms)

    def reader(self) -> Any:
        reader = super().reader()

        async def beginning_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            return {tp: self.log_starts.get(tp, 0) for tp in partitions}

        reader.beginning_offsets = beginning_offsets
        return reader

    async def recover(self, *partitions: TopicPartition, generation: int = 0) -> list[SessionLease]:
        opened: AsyncIterator[Any] = self.recovery.open_leases(list(partitions or (TP,)), generation)
        leases = [lease async for lease in opened]
        self.lease = next(lease for lease in leases if lease.tp == TP)
        return leases

    async def work(self) -> None:
        """Two sessions, one of them closed, checkpointed by a first lease."""
        await self.recover()
        self.log.event("a", START_MS)
        self.log.session("b", START_MS + 1, timeout_seconds=60)
        self.log.expire("b", START_MS + 2)
        await self.checkpoint_next()

    def start_again(self, **rules: Any) -> None:
        """Another process takes over what lies on the disk."""
        self.recovery.close()
        self.rules = replace(self.rules, **rules)
        self.recovery = self.new_recovery()

    def lose_disk(self) -> None:
        self.recovery.close()
        self.disk.lose()
        self.recovery = self.new_recovery()


def worker_test(test: Any) -> Any:
    def run() -> None:
        worker = Worker()
        worker.run(lambda: test(worker))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def gauge(metric: Any) -> float:
    return metric._value.get()
