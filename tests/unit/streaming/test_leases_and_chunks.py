"""Leases die with their generation; chunks cover every offset once."""

import asyncio
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition

from tests.patience import PATIENCE_SECONDS
from tracker.errors import InvariantError
from tracker.history.reading import skipped
from tracker.streaming.chunk import cut_chunks
from tracker.streaming.lease import MAX_CHUNKS_AHEAD, MAX_CHUNKS_IN_FLIGHT, Lease, LeaseBook

TP = TopicPartition("events", 3)


@dataclass(frozen=True)
class Record:
    offset: int


def test_a_rebalance_ends_every_lease_for_good():
    book = LeaseBook()
    lease = Lease(TP, book.generation, 0)
    assert book.grant(lease)
    book.revoke_all()
    assert not lease.alive
    assert book.get(TP) is None


def test_a_lease_that_was_opened_in_an_earlier_generation_is_not_granted():
    book = LeaseBook()
    late = Lease(TP, book.generation, 0)
    book.revoke_all()
    assert not book.grant(late)
    assert not late.alive
    assert book.live() == []


async def test_a_partition_wants_records_until_its_chunks_in_flight_reach_the_limit():
    book = LeaseBook()
    lease = Lease(TP, book.generation, 0)
    book.grant(lease)
    assert await book.wait_for_wanting(0.01) == [lease]
    lease.chunks_in_flight = MAX_CHUNKS_IN_FLIGHT
    assert await book.wait_for_wanting(0.01) == []
    waiting = asyncio.create_task(book.wait_for_wanting(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    book.chunk_done(lease)
    assert await waiting == [lease]


async def test_while_chunks_of_many_partitions_wait_each_partition_has_one():
    """A worker with many partitions would otherwise hold two chunks of each, and their outputs, in memory."""
    book = LeaseBook()
    leases = [Lease(TopicPartition("events", number), book.generation, 0) for number in range(MAX_CHUNKS_AHEAD + 1)]
    *busy, idle = leases
    for lease in leases:
        book.grant(lease)
    for lease in busy:
        lease.chunks_in_flight = 1
    assert await book.wait_for_wanting(0.01) == [idle]
    book.chunk_done(busy[0])
    assert await book.wait_for_wanting(0.01) == [busy[0], idle, *busy[1:]]


def test_each_rebalance_is_a_generation_of_its_own():
    book = LeaseBook()
    late = []
    for _ in range(3):
        late.append(Lease(TP, book.generation, 0))
        book.revoke_all()
    assert not any(book.grant(lease) for lease in late)
    assert book.grant(Lease(TP, book.generation, 0))


async def test_a_look_that_finds_nothing_lasts_as_long_as_it_may():
    """Whatever happened before it: otherwise the fetch loop would turn without a rest."""
    book = LeaseBook()
    lease = Lease(TP, book.generation, 0)
    book.grant(lease)
    lease.chunks_in_flight = MAX_CHUNKS_IN_FLIGHT + 1
    book.chunk_done(lease)
    began = asyncio.get_running_loop().time()
    assert await book.wait_for_wanting(0.05) == []
    assert asyncio.get_running_loop().time() - began >= 0.05


def test_how_many_partitions_the_group_has_given_is_known_until_the_next_rebalance():
    book = LeaseBook()
    assert book.expected is None
    book.expect(0)
    assert book.expected == 0
    book.revoke_all()
    assert book.expected is None


async def test_a_rebalance_that_is_announced_pauses_fetching_until_it_begins():
    book = LeaseBook()
    book.grant(Lease(TP, book.generation, 0))
    book.pause_fetching()
    assert await book.wait_for_wanting(0.01) == []
    book.revoke_all()
    again = Lease(TP, book.generation, 0)
    book.grant(again)
    assert await book.wait_for_wanting(0.01) == [again]


async def test_who_waits_for_chunks_is_told_when_the_last_of_them_is_done():
    book = LeaseBook()
    leases = [Lease(TopicPartition("events", number), book.generation, 0) for number in range(2)]
    for lease in leases:
        book.grant(lease)
        lease.chunks_in_flight = 1
    idle = asyncio.create_task(book.wait_until_idle())
    for lease in leases:
        await asyncio.sleep(0)
        assert not idle.done()
        book.chunk_done(lease)
    await asyncio.wait_for(idle, PATIENCE_SECONDS)


async def test_a_lease_that_is_granted_wakes_who_waits_for_one():
    book = LeaseBook()
    waiting = asyncio.create_task(book.wait_for_wanting(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    lease = Lease(TP, book.generation, 0)
    book.grant(lease)
    assert await waiting == [lease]


def test_a_lease_names_its_partition_and_says_whether_it_lives():
    book = LeaseBook()
    lease = Lease(TP, book.generation, 0)
    book.grant(lease)
    assert (lease.topic, lease.partition, book.get(TP), book.live()) == ("events", 3, lease, [lease])
    assert not lease.waits_for_room
    assert repr(lease) == "<Lease events-3 generation=0 live>"
    book.revoke_all()
    assert repr(lease) == "<Lease events-3 generation=0 dead>"
    assert not lease.wants_records


def test_a_partition_is_not_leased_twice_in_one_generation():
    book = LeaseBook()
    book.grant(Lease(TP, book.generation, 0))
    with pytest.raises(InvariantError, match="leased already"):
        book.grant(Lease(TP, book.generation, 0))
    book.revoke_all()
    assert book.grant(Lease(TP, book.generation, 0))


async def test_who_waits_for_some_leases_learns_that_another_wants_records():
    book = LeaseBook()
    idle, busy = Lease(TP, book.generation, 0), Lease(TopicPartition("events.source", 1), book.generation, 0)
    book.grant(idle)
    book.grant(busy)
    busy.chunks_in_flight = MAX_CHUNKS_IN_FLIGHT
    others = asyncio.create_task(book.wait_for_others(await book.wait_for_wanting(0.01)))
    await asyncio.sleep(0)
    assert not others.done()
    book.chunk_done(busy)
    await asyncio.wait_for(others, PATIENCE_SECONDS)


async def test_a_stopping_process_fetches_nothing_and_finishes_what_it_has():
    book = LeaseBook()
    lease = Lease(TP, book.generation, 0)
    book.grant(lease)
    lease.chunks_in_flight = 1
    book.stop_fetching()
    assert await book.wait_for_wanting(0.01) == []
    idle = asyncio.create_task(book.wait_until_idle())
    await asyncio.sleep(0)
    assert not idle.done()
    book.chunk_done(lease)
    await idle


def test_chunks_cover_every_offset_once_also_where_the_log_has_holes():
    lease = Lease(TP, 0, 10)
    records = [Record(offset) for offset in (11, 12, 15, 16)]
    chunks = list(cut_chunks(lease, records, position=20, max_records=3))
    assert [(chunk.begin, chunk.end, [r.offset for r in chunk.records]) for chunk in chunks] == [
        (10, 16, [11, 12, 15]),
        (16, 20, [16]),
    ]
    assert lease.next_offset == 20
    assert lease.chunks_in_flight == 2


def test_a_record_that_is_to_be_skipped_is_replaced_in_its_place_and_in_its_own_chunk():
    lease = Lease(TP, 0, 10)
    lease.skips = {9: "earlier", 12: "too deep", 20: "later"}
    chunks = list(cut_chunks(lease, [Record(offset) for offset in (10, 11, 12, 13)], position=20, max_records=2))
    assert [[record.offset for record in chunk.records] for chunk in chunks] == [[10, 11], [12, 13]]
    assert chunks[1].records[0] == skipped(12, "too deep")
    assert chunks[-1].end == lease.next_offset == 20
    (chunk,) = cut_chunks(lease, [], position=21, max_records=2)
    assert chunk.records == [skipped(20, "later")]


def test_offsets_without_a_record_are_a_chunk_too():
    lease = Lease(TP, 0, 10)
    (chunk,) = cut_chunks(lease, [], position=15, max_records=3)
    assert (chunk.begin, chunk.end, chunk.records) == (10, 15, [])
    assert (lease.next_offset, lease.chunks_in_flight) == (15, 1)


@pytest.mark.parametrize("max_records", [1, 2, 4])
def test_the_last_chunk_reaches_to_where_the_fetch_ended(max_records: int):
    lease = Lease(TP, 0, 10)
    chunks = list(
        cut_chunks(lease, [Record(offset) for offset in (10, 11, 12, 13)], position=20, max_records=max_records)
    )
    assert [chunk.begin for chunk in chunks] == [10, *(chunk.end for chunk in chunks[:-1])]
    assert chunks[-1].end == lease.next_offset == 20
    assert lease.chunks_in_flight == len(chunks) == 4 // max_records


def test_a_record_alone_is_one_chunk_however_few_a_chunk_may_hold():
    lease = Lease(TP, 0, 10)
    assert len(list(cut_chunks(lease, [Record(10)], position=11, max_records=1))) == 1
    assert len(list(cut_chunks(lease, [], position=12, max_records=1))) == 1


def test_a_log_that_begins_before_what_was_folded_is_not_the_same_log():
    with pytest.raises(InvariantError, match="made again"):
        list(cut_chunks(Lease(TP, 0, 10), [Record(3)], position=4, max_records=10))
