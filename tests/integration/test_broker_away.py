"""A broker that goes away: what was handed to the process stage's producer waits, and is there once, in order."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from tests.fixtures.kafka import kafka_settings
from tests.patience import PATIENCE_SECONDS
from tracker.kafka.admin import connect
from tracker.kafka.clients import never_give_up, new_producer, new_reader
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.settings import Settings

#: Far below the outage, as 40 s are below one of 70 s.
REQUEST_TIMEOUT_MS = 1_000
OUTAGE_SECONDS = 4.0
TP = TopicPartition("waits", 0)


@pytest.fixture
def broker(tmp_path: Path):
    with LocalKafka(kafka_settings(tmp_path)) as broker:
        yield broker


async def records_in(settings: Settings) -> list[bytes | None]:
    async with new_reader(settings, "test") as reader:
        reader.assign([TP])
        end = (await reader.end_offsets([TP]))[TP]
        found: list[bytes | None] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < end:
                found += [record.value for record in (await reader.getmany(TP, timeout_ms=200)).get(TP, ())]
        return found


async def test_batches_wait_for_the_broker_beyond_any_request_and_come_once_in_order(broker: LocalKafka):
    settings = Settings(kafka_bootstrap=broker.bootstrap)
    async with connect(settings) as admin:
        await admin.create_topics([NewTopic(TP.topic, 1, 1)])
    options = {"request_timeout_ms": REQUEST_TIMEOUT_MS, "max_batch_size": 200}
    values = [b"%d" % number for number in range(60)]
    async with never_give_up(new_producer(settings, "patient", **options)) as patient:
        await send_batches(patient, TP.topic, 0, [(b"k", values[0], [])])
        await asyncio.to_thread(broker.kill)
        # Several batches: the first is with the producer, the next ones wait to be taken by it.
        sending = asyncio.create_task(send_batches(patient, TP.topic, 0, [(b"k", value, []) for value in values[1:]]))
        done, _ = await asyncio.wait([sending], timeout=OUTAGE_SECONDS)
        assert not done, sending.exception()
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE_SECONDS):
            acks = await sending
    assert sum(count for _, count in acks) == len(values) - 1
    assert await records_in(settings) == values
