"""Two sinks of one group on a real broker: partitions change hands, and the pages tell what is so."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest

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
from tracker.sink.main import DATASOURCES

PARTITIONS = 4
#: A sink takes those of each datasource's topic.
ALL_PARTITIONS = PARTITIONS * len(DATASOURCES)
POLL_SECONDS = 0.1
#: Rows come all the time, a few a turn.
ROWS_A_TURN = 5


class Group:
    """Two workers, one after the other, in front of the double."""

    def __init__(self, broker: LocalKafka, double: TinybirdDouble, data_dir: Path) -> None:
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap, topic_prefix=f"rebalance-{free_port()}.", partitions=PARTITIONS
        )
        self.double = double
        self.ports = {name: free_port() for name in ("first", "second")}
        self.first, self.second = (
            Stage(
                "sink",
                data_dir / name,
                {
                    "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
                    "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
                    "TRACKER_PARTITIONS": str(PARTITIONS),
                    "TRACKER_TINYBIRD_URL": double.url,
                    "TRACKER_TINYBIRD_TOKEN": TOKEN,
                    "TRACKER_WORKER_ID": name,
                    "TRACKER_SINK_PORT": str(port),
                },
            )
            for name, port in self.ports.items()
        )
        self.fed = 0

    async def feed(self) -> None:
        """Rows of every partition, for ever."""
        topic = SEQUENCED.name(self.settings.topic_prefix)
        async with new_producer(self.settings, "feeder") as producer:
            while True:
                for partition in range(PARTITIONS):
                    rows = [
                        (
                            None,
                            orjson.dumps({"row": f"{partition}-{number}"}),
                            write_position(partition, number, 0),
                        )
                        for number in range(self.fed, self.fed + ROWS_A_TURN)
                    ]
                    await send_batches(producer, topic, partition, rows)
                self.fed += ROWS_A_TURN
                await asyncio.sleep(POLL_SECONDS)

    async def partitions_of(self, worker: str) -> int:
        async with aiohttp.ClientSession() as http:
            try:
                async with http.get(f"http://{LOOPBACK}:{self.ports[worker]}/healthz") as answer:
                    return int((await answer.json())["partitions"])
            except aiohttp.ClientError:
                return 0

    async def metric(self, worker: str, name: str) -> float:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{LOOPBACK}:{self.ports[worker]}/metrics") as answer,
        ):
            lines = [line for line in (await answer.text()).splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines) if lines else -1.0


@pytest.fixture
async def group(kafka_broker: LocalKafka, double: TinybirdDouble, tmp_path: Path) -> AsyncIterator[Group]:
    group = Group(kafka_broker, double, tmp_path)
    await admin.create_topics(group.settings)
    yield group
    group.first.end()
    group.second.end()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - it asks other processes
            await asyncio.sleep(POLL_SECONDS)


async def test_when_partitions_change_hands_calmly_no_row_is_sent_twice_and_none_is_missing(group: Group):
    async def first_has_all() -> bool:
        return await group.partitions_of("first") == ALL_PARTITIONS

    async def both_share() -> bool:
        shares = await group.partitions_of("first"), await group.partitions_of("second")
        return sum(shares) == ALL_PARTITIONS and min(shares) > 0

    async def all_are_written() -> bool:
        rows = {orjson.dumps({"row": f"{p}-{n}"}) for p in range(PARTITIONS) for n in range(group.fed)}
        return rows <= set(group.double.rows("events_v1"))

    async def nothing_lags() -> bool:
        return await group.metric("first", 'tracker_sink_lag_records{datasource="events_v1",') == 0

    async def all_are_shown() -> bool:
        return await group.metric("first", 'tracker_sink_partitions{datasource="events_v1"}') == PARTITIONS

    group.first.start()
    feeding = asyncio.create_task(group.feed())
    await until(first_has_all)
    group.second.start()
    await until(both_share)
    assert await asyncio.to_thread(group.second.stop) == 0
    await until(first_has_all)
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await until(all_are_written)
    await until(all_are_shown)
    await until(nothing_lags)
    assert {row: n for row, n in Counter(group.double.rows("events_v1")).items() if n > 1} == {}
    assert await asyncio.to_thread(group.first.stop) == 0
