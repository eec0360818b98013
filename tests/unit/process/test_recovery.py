"""Recovery hands out leases on stores that have caught up; standbys follow; what is damaged is rebuilt."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tests.simulation.broker import CHANGELOG_TOPIC, SOURCE_TOPIC
from tests.simulation.disk import MemoryDatabase
from tests.unit.process.one_partition import NUMBER, TP, OnePartition
from tests.virtual_time import until
from tracker.errors import DiskFullError, StateDamagedError
from tracker.process import metrics
from tracker.process.lease import DEADLINES_PER_TURN, SessionLease, read_lifetimes
from tracker.process.recovery import MAX_REBUILDS, SessionRecovery
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


@worker_test
async def test_after_a_lost_disk_a_lease_begins_where_the_last_one_ended_with_all_that_it_knew(worker):
    await worker.work()
    worker.lose_disk()
    (lease,) = await worker.recover(generation=7)
    assert (lease.tp, lease.generation, lease.alive, lease.contested) == (TP, 7, True, False)
    assert (lease.watermark, lease.next_offset, lease.store.position) == (2, 3, len(worker.changelog))
    assert lease.fold.stream_time_ms == START_MS + 2
    assert lease.open_sessions == 1
    assert len(lease.fold.deadlines) == 2
    assert lease.fold.deadlines.next_ms == START_MS + 30 * MINUTE_MS


@worker_test
async def test_what_was_left_on_the_disk_is_not_read_again(worker):
    await worker.work()
    worker.recovery.close()
    worker.recovery = worker.new_recovery()
    worker.broker.log(CHANGELOG_TOPIC, NUMBER).records.clear()
    (lease,) = await worker.recover()
    assert (lease.watermark, lease.open_sessions) == (2, 1)


@worker_test
async def test_a_power_cut_that_takes_the_last_writes_costs_a_reading_of_the_changelog_and_nothing_else(worker):
    await worker.work()
    worker.log.event("a", START_MS + 5)
    await worker.checkpoint_next()
    before = dict(worker.lease.store.states())
    worker.recovery.close()
    assert worker.disk.lose_writes(1) == 1
    worker.recovery = worker.new_recovery()
    assert worker.open(Path("sessions/partition-1")).position < len(worker.changelog)
    worker.disk.release()
    (lease,) = await worker.recover()
    assert (dict(lease.store.states()), lease.watermark) == (before, 3)
    worker.log.event("a", START_MS + 6)
    await worker.checkpoint_next()
    assert [row["session_event_sequence"] for row in rows(worker.outputs["events.sequenced"])] == [1, 2, 3]


@worker_test
async def test_several_partitions_are_recovered_together_and_each_has_its_own_lease(worker):
    leases = await worker.recover(TP, OTHER)
    assert {lease.tp for lease in leases} == {TP, OTHER}
    assert all(lease.next_offset == 0 for lease in leases)
    assert worker.recovery.store(0) is not worker.recovery.store(1)
    assert worker.recovery.store(2) is None


@worker_test
async def test_records_that_retention_has_deleted_are_skipped(worker):
    await worker.work()
    worker.log_starts[TP] = 10
    (lease,) = await worker.recover()
    assert (lease.watermark, lease.next_offset) == (9, 10)


@worker_test
async def test_a_new_partition_of_a_log_that_begins_late_begins_there(worker):
    worker.log_starts[TP] = 10
    (lease,) = await worker.recover()
    assert (lease.watermark, lease.next_offset) == (9, 10)


@pytest.mark.parametrize(("standbys", "each"), [(frozenset(), 100), (frozenset({0}), 100)])
def test_the_cache_is_shared_by_the_partitions_that_are_folded(standbys, each):
    worker = Worker(cache_max_sessions=100)

    async def test() -> None:
        worker.standby_numbers = standbys
        if standbys:
            worker.recovery._store(0)
        (lease,) = await worker.recover()
        assert lease.table._cache_max_sessions == each
        leases = await worker.recover(TP, OTHER)
        worker.standby_numbers = frozenset()
        assert {lease.table._cache_max_sessions for lease in leases} == {100 if standbys else 50}

    worker.run(test)


@pytest.mark.parametrize("damages", [1, MAX_REBUILDS])
def test_state_that_is_found_damaged_is_rebuilt_from_the_changelog(damages):
    worker = Worker()

    async def test() -> None:
        await worker.work()
        worker.recovery.close()
        worker.database = type("D", (Damageable,), {"damages_left": damages, "struck": 0})
        (lease,) = await worker.recover()
        assert worker.database.struck == damages
        assert (lease.watermark, lease.open_sessions) == (2, 1)
        assert lease.store.get(b"a") is not None

    worker.run(test)


@worker_test
async def test_a_disk_that_damages_everything_ends_the_recovery(worker):
    await worker.work()
    worker.recovery.close()
    worker.database = type("D", (Damageable,), {"damages_left": 100, "struck": 0})
    with pytest.raises(StateDamagedError):
        await worker.recover()
    assert worker.database.struck == MAX_REBUILDS + 1


@worker_test
async def test_recovery_waits_for_room_on_a_full_disk(worker):
    await worker.work()
    worker.lose_disk()
    worker.disk.is_full = True
    recovering = asyncio.ensure_future(worker.recover())
    await asyncio.sleep(20)
    assert worker.disk.refused_writes > 1
    assert not recovering.done()
    worker.disk.is_full = False
    (lease,) = await recovering
    assert (lease.watermark, lease.open_sessions) == (2, 1)


@worker_test
async def test_stores_of_partitions_that_went_elsewhere_are_closed_and_standbys_are_kept(worker):
    await worker.recover(TP, OTHER)
    worker.recovery.keep_only({TP})
    assert (worker.recovery.store(0), worker.recovery.store(1) is not None) == (None, True)
    assert worker.disk.open == {Path("sessions/partition-1")}
    worker.standby_numbers = frozenset({1})
    worker.recovery.keep_only(set())
    assert worker.recovery.store(1) is not None
    worker.recovery.close()
    assert worker.disk.open == set()


# Standbys


async def standing_by(worker: Worker) -> asyncio.Task:
    worker.standby_numbers = frozenset({NUMBER})
    task = asyncio.ensure_future(worker.recovery.stand_by())
    await until(lambda: worker.recovery.lag_rows(NUMBER) is not None or task.done())
    return task


def someone_writes(worker: Worker, offset: int) -> None:
    """The partition's owner checkpoints a session."""
    log = Log(worker.rules, number=NUMBER)
    log.event(f"s-{offset}")
    log.fold()
    ((key, value),) = log.encoded_table().items()
    worker.others_write([(key, offset, value)])


@worker_test
async def test_a_standby_follows_the_changelog_and_knows_how_far_it_is_behind(worker):
    for offset in range(5):
        someone_writes(worker, offset)
    task = await standing_by(worker)
    assert worker.recovery.lag_rows(0) is None
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert len(list(worker.recovery.store(NUMBER).states())) == 5
    someone_writes(worker, 5)
    await until(lambda: len(list(worker.recovery.store(NUMBER).states())) == 6)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert gauge(metrics.STANDBY_LAG) == 0
    task.cancel()


@worker_test
async def test_the_lag_is_that_of_present_standbys_only(worker):
    someone_writes(worker, 1)
    worker.recovery._note_lag(NUMBER, 7)
    worker.recovery._note_lag(0, 5)
    assert gauge(metrics.STANDBY_LAG) == 12
    worker.standby_numbers = frozenset({0})
    worker.recovery.keep_only({TP})
    assert worker.recovery.lag_rows(NUMBER) is None
    assert gauge(metrics.STANDBY_LAG) == 5


@worker_test
async def test_without_standbys_there_is_nothing_to_follow(worker):
    await worker.recovery.stand_by()
    assert worker.readers == 0


@worker_test
async def test_a_standby_goes_on_after_the_broker_was_away(worker):
    worker.reader_errors.append(KafkaTimeoutError())
    someone_writes(worker, 1)
    task = await standing_by(worker)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    assert worker.reader_errors == []
    assert worker.readers == 2
    task.cancel()


@worker_test
async def test_a_standby_that_may_not_read_says_so(worker):
    worker.reader_errors.append(TopicAuthorizationFailedError())
    task = await standing_by(worker)
    with pytest.raises(TopicAuthorizationFailedError):
        await task


@pytest.mark.parametrize("error", [StateDamagedError("corruption"), DiskFullError("no space left")])
def test_a_standby_whose_store_fails_opens_it_again(error):
    worker = Worker()

    async def test() -> None:
        worker.reader_errors.append(error)
        someone_writes(worker, 1)
        task = await standing_by(worker)
        first = worker.recovery.store(NUMBER)
        await until(lambda: not worker.reader_errors)
        await until(lambda: worker.recovery.store(NUMBER) not in (None, first))
        await until(lambda: len(list(worker.recovery.store(NUMBER).states())) == 1)
        task.cancel()

    worker.run(test)


@worker_test
async def test_a_standbys_store_is_handed_over_warm_when_its_partition_becomes_ours(worker):
    someone_writes(worker, 1)
    task = await standing_by(worker)
    await until(lambda: worker.recovery.lag_rows(NUMBER) == 0)
    task.cancel()
    store = worker.recovery.store(NUMBER)
    worker.standby_numbers = frozenset()
    (lease,) = await worker.recover()
    assert lease.store is store


# What is rebuilt in memory


@worker_test
async def test_others_get_a_turn_while_many_deadlines_are_read(worker):
    store = worker.open(Path("sessions/partition-1"))
    log = Log(worker.rules)
    log.event("s")
    log.fold()
    (value,) = log.encoded_table().values()
    store.write([(b"%d" % n, 1, value) for n in range(DEADLINES_PER_TURN + 1)], 1)
    turns = []

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await asyncio.sleep(0)
    before = len(turns)
    lifetimes = await read_lifetimes(store, worker.rules)
    assert len(turns) == before + 1
    assert (lifetimes.open_sessions, len(lifetimes.deadlines)) == (DEADLINES_PER_TURN + 1, DEADLINES_PER_TURN + 1)
    task.cancel()
