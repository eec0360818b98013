"""A quiet partition gets a tick once something is due, and no partition gets one that it does not need."""

import asyncio

import pytest

from tests.sessions_log import MINUTE_MS, START_MS
from tests.unit.process.one_partition import TP, OnePartition, partition_test
from topics.system.control import TICK_VALUE
from tracker import clock
from tracker.process.ticks import USAGE_WAIT_MS, is_due, tick_forever
from tracker.streaming.lease import Lease, LeaseBook

DEADLINE_MS = START_MS + 30 * MINUTE_MS


async def with_a_session(partition: OnePartition) -> None:
    await partition.open_lease()
    partition.log.event("a", START_MS)
    await partition.checkpoint_next()


@partition_test()
async def test_a_tick_is_due_once_the_clock_is_past_a_deadline(partition):
    await with_a_session(partition)
    assert [is_due(partition.lease, DEADLINE_MS + late) for late in (-1, 0, 1)] == [False, False, True]


@partition_test()
async def test_no_tick_is_due_while_records_are_on_their_way_or_the_lease_is_dead(partition):
    await with_a_session(partition)
    partition.lease.chunks_in_flight = 1
    assert not is_due(partition.lease, DEADLINE_MS + 1)
    partition.lease.chunks_in_flight = 0
    partition.lease.alive = False
    assert not is_due(partition.lease, DEADLINE_MS + 1)


@partition_test()
async def test_nothing_is_due_where_nothing_is_known(partition):
    await partition.open_lease()
    assert not is_due(partition.lease, DEADLINE_MS)


@partition_test()
async def test_a_tick_mends_the_changelog_too(partition):
    await partition.open_lease()
    partition.lease.store.overwritten.add(b"a")
    assert is_due(partition.lease, START_MS)


@partition_test(usage_interval_ms=MINUTE_MS)
async def test_usage_that_no_record_has_put_out_waits_a_while_for_a_tick(partition):
    await with_a_session(partition)
    counted_until_ms = START_MS + MINUTE_MS
    late = (USAGE_WAIT_MS - 1, USAGE_WAIT_MS, USAGE_WAIT_MS + 1)
    assert [is_due(partition.lease, counted_until_ms + each) for each in late] == [False, False, True]


def test_a_partition_that_needs_none_gets_none(monkeypatch):
    partition = OnePartition()
    monkeypatch.setattr(clock, "now_ms", lambda: DEADLINE_MS)

    async def test() -> None:
        await with_a_session(partition)
        book = LeaseBook()
        book.grant(partition.lease)
        task = asyncio.ensure_future(tick_forever(book, partition.producer, 1_000))
        await asyncio.sleep(5)
        assert partition.written(TP.topic) == []
        task.cancel()

    partition.run(test)


def test_the_interval_is_kept_to_the_millisecond(monkeypatch):
    partition = OnePartition()
    looks = []
    monkeypatch.setattr(clock, "now_ms", lambda: looks.append(asyncio.get_running_loop().time()) or 0)

    async def test() -> None:
        await partition.open_lease()
        book = LeaseBook()
        book.grant(partition.lease)
        began = partition.env.loop.time()
        task = asyncio.ensure_future(tick_forever(book, partition.producer, 1_000))
        await asyncio.sleep(3.5)
        assert [look - began for look in looks] == pytest.approx([1, 2, 3], abs=1e-6)
        task.cancel()

    partition.run(test)


@pytest.mark.parametrize("faults", [[], ["refused"]])
def test_ticks_are_appended_once_an_interval_to_the_partitions_that_need_one(faults, monkeypatch):
    partition = OnePartition()
    monkeypatch.setattr(clock, "now_ms", lambda: DEADLINE_MS + 1)
    partition.producer.faults[TP.topic] = list(faults)

    async def test() -> None:
        await with_a_session(partition)
        book = LeaseBook()
        book.grant(partition.lease)
        book.grant(Lease(TP._replace(partition=0), 0, 0))
        task = asyncio.ensure_future(tick_forever(book, partition.producer, 1_000))
        await asyncio.sleep(0.5)
        assert partition.written(TP.topic) == []
        await asyncio.sleep(1)
        assert len(partition.written(TP.topic)) == 1 - len(faults)
        await asyncio.sleep(1)
        assert partition.producer.struck["refused"] == len(faults)
        assert [(record.key, record.value) for record in partition.written(TP.topic)] == (
            [(None, TICK_VALUE)] * (2 - len(faults))
        )
        assert partition.broker.log(TP.topic, 0).records == []
        task.cancel()

    partition.run(test)
