"""A full disk makes a partition wait; nothing is lost, and a dead lease opens no store."""

import asyncio

import pytest

from tests.sessions_log import START_MS
from tests.unit.process.one_partition import STORE_PATH, OnePartition, partition_test
from tests.unit.process.test_holes import begun, held, state_row
from tests.virtual_time import until
from tracker.errors import StateDamagedError


async def fill_disk_during_a_chunk(partition: OnePartition) -> "asyncio.Task":
    """Start a chunk whose write does not fit."""
    partition.disk.is_full = True
    partition.log.event("a", START_MS + 1, event_id="a-2")
    task = asyncio.ensure_future(partition.checkpoint_next())
    await until(lambda: len(partition.changelog) > 2)
    await asyncio.sleep(10)
    assert partition.disk.refused_writes > 1
    assert not task.done()
    assert partition.lease.waits_for_room
    return task


@partition_test()
async def test_a_chunk_waits_for_room_and_counts_once_there_is_some(partition):
    await begun(partition, "a")
    task = await fill_disk_during_a_chunk(partition)
    assert (partition.lease.watermark, partition.lease.store.position) == (0, 2)
    partition.disk.is_full = False
    await task
    assert (partition.lease.watermark, partition.lease.store.position) == (1, 4)
    assert not partition.lease.waits_for_room
    assert held(partition, b"a") == (1, 2)


@partition_test()
async def test_a_disk_that_is_too_full_to_open_anything_is_waited_for_as_well(partition):
    await begun(partition, "a")
    partition.disk.is_full_to_the_brim = True
    task = await fill_disk_during_a_chunk(partition)
    partition.disk.is_full = False
    refused = partition.disk.refused_openings
    await asyncio.sleep(10)
    assert partition.disk.refused_openings > refused
    assert not task.done()
    partition.disk.is_full_to_the_brim = False
    await task
    assert held(partition, b"a") == (1, 2)


@partition_test()
async def test_a_lease_that_dies_meanwhile_drops_its_chunk_and_leaves_the_store_closed(partition):
    await begun(partition, "a")
    task = await fill_disk_during_a_chunk(partition)
    partition.lease.alive = False
    partition.lease.store.close()
    await task
    assert STORE_PATH not in partition.disk.open
    assert partition.lease.watermark == 0


@partition_test()
async def test_a_store_that_comes_back_without_what_it_had_stops_the_chunk(partition):
    await begun(partition, "a")
    task = await fill_disk_during_a_chunk(partition)
    assert partition.disk.lose_writes() == 1
    with pytest.raises(StateDamagedError, match="came back at 0"):
        await task


@partition_test()
async def test_a_hole_waits_for_room_too(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])
    task = await fill_disk_during_a_chunk(partition)
    partition.disk.is_full = False
    await task
    assert held(partition, b"a") == (50, 9)
    assert partition.lease.store.position == len(partition.changelog)
