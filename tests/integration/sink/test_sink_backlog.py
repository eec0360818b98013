"""A backlog on a real broker goes through at full speed, also where other partitions have nothing."""

import asyncio
from pathlib import Path

import orjson

from tests.fixtures.tinybird_double import TOKEN, TinybirdDouble
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage
from topics.catalog import SEQUENCED
from topics.headers import write_position
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

PARTITIONS = 4
#: Several times what one fetch brings, which is several chunks: more is asked for while the others are idle.
ROWS = 20_000
PADDING = "x" * 200
POLL_SECONDS = 0.1


def backlog() -> list[ProducerRecord]:
    headers = [write_position(0, number, 0) for number in range(ROWS)]
    return [(None, orjson.dumps({"row": number, "padding": PADDING}), of) for number, of in enumerate(headers)]


async def test_a_busy_partition_does_not_wait_for_what_idle_ones_do_not_have(
    kafka_broker: LocalKafka, double: TinybirdDouble, tmp_path: Path
):
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap, topic_prefix=f"backlog-{free_port()}.", partitions=PARTITIONS
    )
    await admin.create_topics(settings)
    async with new_producer(settings, "feeder") as producer:
        await send_batches(producer, SEQUENCED.name(settings.topic_prefix), 0, backlog())
    environment = {
        "TRACKER_KAFKA_BOOTSTRAP": kafka_broker.bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(PARTITIONS),
        "TRACKER_TINYBIRD_URL": double.url,
        "TRACKER_TINYBIRD_TOKEN": TOKEN,
    }
    sink = Stage("sink", tmp_path, environment, module="tests.integration.sink.patient")
    sink.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(double.written) < ROWS:  # noqa: ASYNC110 - another process sends them
                await asyncio.sleep(POLL_SECONDS)
    finally:
        sink.end()
    assert sorted(double.rows("events_v1")) == sorted(value or b"" for _, value, _ in backlog())
