"""What the doubles and the real things have in common, as functions that run against either.

The doubles run them in ``test_doubles.py``, in virtual time; a real broker and RocksDB in
``tests/integration/test_simulated_contracts.py`` and here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from tracker.kafka.record_batches import send_batches
from tracker.table.database import Database

VALUE_BYTES = 100


class Cluster(Protocol):
    """A log to write to and read from."""

    topic: str

    def producer(self, max_batch_bytes: int) -> Any:
        """Return a started producer."""

    def reader(self) -> Any:
        """Return a reader, to be entered."""


def _records(count: int, first: int = 0) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    return [(b"key-%d" % n, b"v" * VALUE_BYTES, [("n", b"%d" % n)]) for n in range(first, first + count)]


async def a_batch_takes_the_first_record_whatever_its_size_and_refuses_when_full(cluster: Cluster) -> None:
    batch = cluster.producer(10).create_batch()
    assert batch.append(timestamp=None, key=b"k", value=b"v" * VALUE_BYTES, headers=[]) is not None
    assert batch.append(timestamp=None, key=b"k", value=b"v" * VALUE_BYTES, headers=[]) is None
    assert batch.record_count() == 1


async def batches_lie_in_the_log_in_order_and_their_acks_say_where(cluster: Cluster) -> None:
    producer = cluster.producer(3 * VALUE_BYTES)
    written = await send_batches(producer, cluster.topic, 0, _records(10))
    assert len(written) > 1
    position = written[0][0]
    for base, count in written:
        assert base == position
        position += count
    again = await send_batches(producer, cluster.topic, 0, _records(1, first=10))
    assert again == [(position, 1)]
    assert [record.key for record in await _read(cluster, 11)] == [key for key, _, _ in _records(11)]


async def what_was_sent_comes_back_as_it_was(cluster: Cluster) -> None:
    await send_batches(cluster.producer(10_000), cluster.topic, 0, [(b"k", b"v", [("h", b"1")]), (b"gone", None, [])])
    first, second = await _read(cluster, 2)
    assert (first.key, first.value, list(first.headers)) == (b"k", b"v", [("h", b"1")])
    assert (second.key, second.value, second.offset) == (b"gone", None, first.offset + 1)


async def a_record_has_the_time_that_it_was_given(cluster: Cluster) -> None:
    before = await send_batches(cluster.producer(10_000), cluster.topic, 0, _records(2), [5_000, 7_000])
    assert [record.timestamp for record in await _read(cluster, 2)] == [5_000, 7_000], before


async def a_record_of_its_own_is_acked_with_its_offset(cluster: Cluster) -> None:
    producer = cluster.producer(10_000)
    acks = [await producer.send_and_wait(cluster.topic, b"v", key=b"k", partition=0) for _ in range(2)]
    assert [ack.offset for ack in acks] == [acks[0].offset, acks[0].offset + 1]


async def a_reader_reads_on_from_where_it_was_put_and_knows_where_it_is(cluster: Cluster) -> None:
    await send_batches(cluster.producer(10_000), cluster.topic, 0, _records(6))
    tp = TopicPartition(cluster.topic, 0)
    async with cluster.reader() as reader:
        reader.assign([tp])
        assert (await reader.beginning_offsets([tp]))[tp] == 0
        end = (await reader.end_offsets([tp]))[tp]
        reader.seek(tp, end - 4)
        found: list[Any] = []
        while await reader.position(tp) < end:
            found += (await reader.getmany(tp, timeout_ms=500, max_records=3)).get(tp, [])
        assert [record.offset for record in found] == list(range(end - 4, end))
        assert await reader.position(tp) == end
        assert await reader.getmany(tp, timeout_ms=50) == {}


async def only_assigned_partitions_can_be_read(cluster: Cluster) -> None:
    async with cluster.reader() as reader:
        reader.assign([TopicPartition(cluster.topic, 0)])
        with pytest.raises(IllegalStateError):
            reader.seek(TopicPartition(cluster.topic, 1), 0)


async def a_paused_partition_gives_nothing(cluster: Cluster) -> None:
    await send_batches(cluster.producer(10_000), cluster.topic, 0, _records(2))
    tp = TopicPartition(cluster.topic, 0)
    async with cluster.reader() as reader:
        reader.assign([tp])
        reader.seek(tp, 0)
        reader.pause(tp)
        assert await reader.getmany(tp, timeout_ms=300) == {}
        assert await reader.position(tp) == 0


async def _read(cluster: Cluster, count: int) -> Sequence[Any]:
    """The last records of the log."""
    tp = TopicPartition(cluster.topic, 0)
    async with cluster.reader() as reader:
        reader.assign([tp])
        end = (await reader.end_offsets([tp]))[tp]
        reader.seek(tp, end - count)
        found: list[Any] = []
        while await reader.position(tp) < end:
            found += (await reader.getmany(tp, timeout_ms=500, max_records=100)).get(tp, [])
        return found


CLUSTER_CONTRACTS = (
    a_batch_takes_the_first_record_whatever_its_size_and_refuses_when_full,
    batches_lie_in_the_log_in_order_and_their_acks_say_where,
    what_was_sent_comes_back_as_it_was,
    a_record_has_the_time_that_it_was_given,
    a_record_of_its_own_is_acked_with_its_offset,
    a_reader_reads_on_from_where_it_was_put_and_knows_where_it_is,
    only_assigned_partitions_can_be_read,
    a_paused_partition_gives_nothing,
)


class Databases(Protocol):
    """Opens databases."""

    def __call__(self, path: Path) -> Database:
        """Open the one at a path."""


def what_was_written_is_there_and_what_was_deleted_is_not(open_database: Databases, path: Path) -> None:
    database = open_database(path)
    database.write({b"b": b"2", b"a": b"1", b"c": b"3"})
    database.write({b"c": None, b"d": b"4", b"never": None})
    assert database.get(b"a") == b"1"
    assert database.get(b"c") is None
    assert database.get_many([b"d", b"c", b"a", b"nobody"]) == [b"4", None, b"1", None]
    assert database.get_many([]) == []
    assert list(database.items()) == [(b"a", b"1"), (b"b", b"2"), (b"d", b"4")]
    database.close()


def it_is_there_again_when_it_is_opened_again(open_database: Databases, path: Path) -> None:
    database = open_database(path)
    database.write({b"a": b"1"})
    database.close()
    again = open_database(path)
    assert again.get(b"a") == b"1"
    again.close()


def it_is_gone_once_it_is_destroyed(open_database: Databases, path: Path) -> None:
    database = open_database(path)
    database.write({b"a": b"1"})
    database.destroy()
    again = open_database(path)
    assert list(again.items()) == []
    again.close()


def nobody_else_can_open_it_meanwhile(open_database: Databases, path: Path) -> None:
    database = open_database(path)
    with pytest.raises(Exception, match=r"(?i)lock"):
        open_database(path)
    database.close()


def an_iteration_sees_what_was_there_when_it_began(open_database: Databases, path: Path) -> None:
    database = open_database(path)
    database.write({b"a": b"1", b"b": b"2"})
    items = database.items()
    first = next(items)
    database.write({b"b": None, b"c": b"3"})
    assert [first, *items] == [(b"a", b"1"), (b"b", b"2")]
    database.close()


DATABASE_CONTRACTS = (
    what_was_written_is_there_and_what_was_deleted_is_not,
    it_is_there_again_when_it_is_opened_again,
    it_is_gone_once_it_is_destroyed,
    nobody_else_can_open_it_meanwhile,
    an_iteration_sees_what_was_there_when_it_began,
)
