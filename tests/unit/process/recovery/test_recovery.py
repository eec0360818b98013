"""Recovery hands out leases on stores that have caught up; what is damaged is rebuilt."""

import asyncio
from pathlib import Path

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tests.simulation.broker import CHANGELOG_TOPIC
from tests.unit.process.one_partition import NUMBER, TP
from tests.unit.process.recovery.one_worker import OTHER, Damageable, Worker, worker_test
from tracker.errors import StateDamagedError
from tracker.kafka.clients import RETRY_SECONDS
from tracker.process import metrics
from tracker.process.lease import DEADLINES_PER_TURN, read_lifetimes
from tracker.process.recovery import MAX_REBUILDS
from tracker.sessions.keys import page_key
from tracker.sessions.layouts import encode_page


@worker_test
async def test_after_a_lost_disk_a_lease_begins_where_the_last_one_ended_with_all_that_it_knew(worker):
    await worker.work()
    worker.lose_disk()
    (lease,) = await worker.recover(generation=7)
    assert (lease.tp, lease.generation, lease.alive, lease.contested) == (TP, 7, True, False)
    assert (lease.watermark, lease.next_offset, lease.store.position) == (2, 3, len(worker.changelog))
    assert lease.fold.stream_time_ms == START_MS + 2
    assert (lease.open_sessions, lease.known_sessions) == (1, 2)
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
async def test_pages_that_no_session_refers_to_are_removed(worker):
    await worker.work()
    orphan = page_key(b"nobody", 1)
    worker.others_write([(orphan, 1, encode_page(1, b"ids"))])
    (lease,) = await worker.recover()
    assert lease.store.get(orphan) is None
    assert lease.store.overwritten == {orphan}


@worker_test
async def test_a_recovery_is_timed_and_keeps_nobody_waiting_for_longer_than_it_takes(worker):
    seconds = metrics.RECOVERY_SECONDS
    before = seconds._sum.get(), [bucket.get() for bucket in seconds._buckets]
    began = worker.env.loop.time()
    await worker.recover(TP, OTHER)
    assert sum(bucket.get() for bucket in seconds._buckets) == sum(before[1]) + 2
    assert 0 < seconds._sum.get() - before[0] < 60
    assert worker.env.loop.time() - began < 1


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
    assert 1 < worker.disk.refused_writes <= 20 / RETRY_SECONDS + 1
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
    assert len(turns) == before + 2
    assert (lifetimes.open_sessions, lifetimes.known_sessions) == (DEADLINES_PER_TURN + 1, DEADLINES_PER_TURN + 1)
    task.cancel()
