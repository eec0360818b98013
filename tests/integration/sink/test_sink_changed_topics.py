"""A sink whose output topics are cut off by retention, deleted and made again, or given more partitions."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.structs import TopicPartition

from tests.fixtures.tinybird_double import TOKEN, TinybirdDouble
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage
from topics.catalog import SEQUENCED
from topics.headers import write_position
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.kafka.record_batches import send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

POLL_SECONDS = 0.1


class Sink:
    """One sink in front of the double."""

    def __init__(self, broker: LocalKafka, double: TinybirdDouble, data_dir: Path) -> None:
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"changed-{free_port()}.", partitions=1)
        self.topic = SEQUENCED.name(self.settings.topic_prefix)
        self.port = free_port()
        self._double = double
        self.stage = Stage(
            "sink",
            data_dir,
            {
                "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
                "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                "TRACKER_PARTITIONS": "1",
                "TRACKER_TINYBIRD_URL": double.url,
                "TRACKER_TINYBIRD_TOKEN": TOKEN,
                "TRACKER_SINK_PORT": str(self.port),
                "TRACKER_SINK_BATCH_WINDOW_MS": "50",
            },
        )

    async def write(self, numbers: Iterable[int], partition: int = 0) -> None:
        rows = [
            (
                None,
                orjson.dumps({"row": number}),
                write_position(partition, number, 0),
            )
            for number in numbers
        ]
        async with new_producer(self.settings, "test") as producer:
            await send_batches(producer, self.topic, partition, rows)

    @property
    def rows(self) -> list[int]:
        return [orjson.loads(row)["row"] for row in self._double.rows("events_v1")]

    @property
    def log(self) -> str:
        return self.stage.log_file.read_text()

    async def committed(self) -> int:
        found = await admin.committed_offsets(self.settings, f"{self.settings.topic_prefix}sink")
        return found.get(TopicPartition(self.topic, 0), 0)

    async def lost(self) -> float:
        async with aiohttp.ClientSession() as http, http.get(f"http://{LOOPBACK}:{self.port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        name = 'tracker_sink_lost_records_total{datasource="events_v1"} '
        return float(next(line.removeprefix(name) for line in lines if line.startswith(name)))


@pytest.fixture
async def sink(kafka_broker: LocalKafka, double: TinybirdDouble, tmp_path: Path) -> AsyncIterator[Sink]:
    sink = Sink(kafka_broker, double, tmp_path)
    await admin.create_topics(sink.settings)
    yield sink
    sink.stage.end()


async def until(holds: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(POLL_SECONDS)


async def delete_before(sink: Sink, offset: int) -> None:
    """What retention does, at once."""
    async with admin.connect(sink.settings) as client:
        await client.delete_records({TopicPartition(sink.topic, 0): RecordsToDelete(offset)})


@pytest.mark.parametrize("is_running", [False, True])
async def test_what_retention_deletes_before_it_is_sent_is_named_and_counted(sink: Sink, is_running: bool):
    await sink.write(range(2))
    sink.stage.start()
    await until(lambda: committed_is(sink, 2))
    await asyncio.to_thread(sink.stage.freeze if is_running else sink.stage.kill)
    await sink.write([2])  # a fetch of the frozen sink may be under way, which takes this, seldom more
    await sink.write(range(3, 9))
    await delete_before(sink, 6)
    sink.stage.wake() if is_running else sink.stage.start()
    await until(lambda: committed_is(sink, 9))
    line = re.search(r"deleted by retention before they were sent.*first_left=6 first_lost=(\d)", sink.log)
    assert line is not None
    first_lost = int(line[1])
    assert first_lost in (range(2, 6) if is_running else (2,))
    assert sink.rows == [*range(first_lost), 6, 7, 8]
    assert await sink.lost() == 6 - first_lost


async def committed_is(sink: Sink, offset: int) -> bool:
    return await sink.committed() == offset


@pytest.mark.parametrize("new_rows", [3, 30])
async def test_a_topic_that_was_made_again_is_sent_from_its_beginning(sink: Sink, new_rows: int):
    await sink.write(range(10))
    sink.stage.start()
    await until(lambda: committed_is(sink, 10))
    await admin.delete_topics(sink.settings, [sink.topic])
    await until(lambda: is_gone(sink))
    await admin.create_topics(sink.settings)
    await sink.write(range(100, 100 + new_rows))
    # It may be in the middle of anything: it ends with a line, or goes on from the right place by itself.
    status = await asyncio.to_thread(sink.stage.exit_status, PATIENCE_SECONDS)
    assert status == 1
    assert "Traceback" not in sink.log
    assert "deleted and made again" in sink.log
    sink.stage.start()
    await until(lambda: set(sink.rows) >= set(range(100, 100 + new_rows)))


async def is_gone(sink: Sink) -> bool:
    return sink.topic not in await admin.describe_broker(sink.settings)


async def test_added_partitions_are_taken_once_the_sink_has_started_again(sink: Sink):
    await sink.write(range(2))
    sink.stage.start()
    await until(lambda: committed_is(sink, 2))
    names = list(await admin.describe_broker(sink.settings))
    async with admin.connect(sink.settings) as client:
        await client.create_partitions({name: NewPartitions(2) for name in names})
    assert await asyncio.to_thread(sink.stage.exit_status, PATIENCE_SECONDS) == 1
    assert "start this process again" in sink.log
    sink.stage.start()
    await sink.write(range(2, 4), partition=1)
    await until(lambda: sorted(sink.rows) == [0, 1, 2, 3])
