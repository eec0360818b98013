"""The contract with aiokafka's inside: an upgrade that moved a name fails here, and the failure names it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.consumer import consumer, fetcher
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata

from tests.unit.private_names import missing, used
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.record_decoding import Record

PartitionRecords = internals.PartitionRecords


def test_aiokafka_has_every_private_name_that_we_lean_on():
    assert missing(internals.LEANED_ON) == []


def test_a_moved_name_is_named():
    assert missing([(AIOKafkaProducer, "_moved_elsewhere")]) == ["AIOKafkaProducer._moved_elsewhere"]


def test_every_private_name_in_the_seam_is_listed():
    assert used(Path(internals.__file__)) == {name for _, name in internals.LEANED_ON}


@pytest.mark.parametrize("owner", sorted({owner for owner, _ in internals.LEANED_ON}, key=lambda one: one.__name__))
def test_only_aiokafkas_own_classes_are_listed(owner: type):
    assert owner.__module__.startswith("aiokafka.")


def test_readers_get_every_field_of_a_record_that_aiokafkas_own_has():
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 10_000)
    batch.append(0, 1_700_000_000_000, b"key", b"value", [("name", b"said"), ("empty", b"")])
    batch.append(1, 1_700_000_000_007, None, None, [])
    raw, tp = bytes(batch.build()), TopicPartition("events", 3)
    internals.adapt_consumers()
    theirs, ours = (
        list(records(tp, fetcher.MemoryRecords(raw), [], 0, None, None, True, 0))
        for records in (PartitionRecords, fetcher.PartitionRecords)
    )
    assert [type(record) for record in (theirs[0], ours[0])] == [ConsumerRecord, Record]
    names = Record.__struct_fields__
    assert [[getattr(one, name) for name in names] for one in ours] == [
        [getattr(one, name) for name in names] for one in theirs
    ]
    assert [one.headers for one in ours] == [(("name", b"said"), ("empty", b"")), ()]


class Answers:
    """A group in which nothing was committed, and whose brokers answer when told."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def fetch_committed(self) -> OffsetAndMetadata:
        await self.told.wait()
        return OffsetAndMetadata(-1, "")


async def test_a_partition_whose_position_two_leaders_do_not_know_has_one_error_and_is_fetched_on():
    internals.adapt_consumers()
    answers, tp = Answers(), TopicPartition("events", 3)
    state = SimpleNamespace(has_valid_position=False, awaiting_reset=False, fetch_committed=answers.fetch_committed)
    assignment = SimpleNamespace(state_value=lambda _: state)
    steady = consumer.Fetcher.__new__(consumer.Fetcher)
    steady.__dict__.update(_records={}, _default_reset_strategy=fetcher.OffsetResetStrategy.NONE, _prefetch_backoff=0.0)
    asked = [asyncio.ensure_future(steady._update_fetch_positions(assignment, node, [tp])) for node in (1, 2)]
    await asyncio.sleep(0)
    answers.told.set()
    assert await asyncio.gather(*asked) == [True, True]
    with pytest.raises(NoOffsetForPartitionError):
        steady._records[tp].check_raise()
