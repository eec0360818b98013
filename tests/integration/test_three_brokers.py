"""Every stage on a cluster of three brokers: one away while the stages start, two away while events come in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.fixtures.cluster import KafkaCluster
from tests.fixtures.tinybird_double import TOKEN, TinybirdDouble
from tests.integration.collect.collector_process import running_collector
from tests.patience import PATIENCE_SECONDS
from tests.source_log import end_offsets, read_all
from tests.stages import Stage
from topics.catalog import CATALOG, MIN_IN_SYNC, SOURCE
from tracker.kafka.admin import connect, create_topics, describe_broker
from tracker.kafka.requests import DescribeTopics
from tracker.kafka.topic_checks import check_topics
from tracker.local.ports import LOOPBACK, free_port
from tracker.local.stack import wait_until
from tracker.settings import Settings

pytestmark = pytest.mark.slow

PARTITIONS = 2
#: How often topics are made: a broker learns of them milliseconds after another, and not each time.
ROUNDS = 10
TRACK = "/api/v1/events/track"


@pytest.fixture
async def settings(kafka_cluster: KafkaCluster, tmp_path: Path) -> Settings:
    made = Settings(
        kafka_bootstrap=kafka_cluster.bootstrap,
        topic_prefix=f"three-{free_port()}.",
        partitions=PARTITIONS,
        replication_factor=kafka_cluster.replicas,
        data_dir=tmp_path,
        collect_port=free_port(),
        collect_ack_timeout_ms=1_000,
        process_port=free_port(),
        sink_port=free_port(),
    )
    await create_topics(made)
    return made


@pytest.fixture
async def away(kafka_cluster: KafkaCluster, settings: Settings) -> AsyncIterator[Callable[..., None]]:
    """Kills brokers, which come back when the test has ended."""
    gone: set[int] = set()

    def kill(*numbers: int) -> None:
        gone.update(numbers)
        kafka_cluster.kill(*numbers)

    yield kill
    await asyncio.to_thread(bring_back, kafka_cluster, settings, gone)


def bring_back(cluster: KafkaCluster, settings: Settings, numbers: set[int]) -> None:
    """Start brokers that are away, and wait until another one may be taken away."""
    missing = [number for number in numbers if cluster.brokers[number].pid is None]
    if missing:
        cluster.start(*missing)
    cluster.wait_until_in_sync(*(topic.name(settings.topic_prefix) for topic in CATALOG))


@pytest.fixture
def stage(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    started: list[Stage] = []
    names = settings.model_fields_set - {"data_dir"}
    environment = {f"TRACKER_{name.upper()}": str(getattr(settings, name)) for name in names}

    def start(name: str, **more: str) -> Stage:
        started.append(Stage(name, tmp_path / name, {**environment, **more}))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.end()


async def track(http: aiohttp.ClientSession, event_id: str) -> int:
    body = {"event_type": "click", "session_id": "s", "event_id": event_id}
    async with http.post(TRACK, json=body) as answer:
        return answer.status


async def test_two_of_three_brokers_must_have_a_record_of_any_topic(settings: Settings):
    found = await describe_broker(settings, configs=True)
    assert {topic.config[MIN_IN_SYNC] for topic in found.values()} == {"2"}
    assert await check_topics(settings) == []


async def test_every_broker_knows_topics_that_were_made(settings: Settings):
    for number in range(ROUNDS):
        new = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}{number}."})
        await create_topics(new)
        async with connect(new) as admin:
            answers = await admin.ask_each(DescribeTopics([topic.name(new.topic_prefix) for topic in CATALOG]))
        known = [
            [topic["topic"] for topic in answer.to_object()["topics"] if topic["partitions"]] for answer in answers
        ]
        assert [len(names) for names in known] == [len(CATALOG)] * 3


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_each_stage_starts_while_a_broker_is_away_and_every_row_arrives(
    settings: Settings, away, stage, double: TinybirdDouble, number: int
):
    away(number)
    tinybird = {"TRACKER_TINYBIRD_URL": double.url, "TRACKER_TINYBIRD_TOKEN": TOKEN}
    stages = [stage("collect"), stage("process"), stage("sink", **tinybird)]
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{settings.collect_port}") as http:

        async def is_up() -> bool:
            for one in stages:
                one.assert_running()
            try:
                return await track(http, "e0") == 202
            except aiohttp.ClientConnectionError:
                return False

        await wait_until("the collector takes events", PATIENCE_SECONDS, is_up)
        assert [await track(http, f"e{n}") for n in range(1, 20)] == [202] * 19

    async def has_arrived() -> bool:
        for one in stages:
            one.assert_running()
        return len(double.rows("events_v1")) >= 20

    await wait_until("every row", PATIENCE_SECONDS, has_arrived)
    rows = [orjson.loads(row) for row in double.rows("events_v1")]
    assert [(row["event_id"], row["session_event_sequence"]) for row in rows] == [(f"e{n}", n + 1) for n in range(20)]
    for one in stages:
        assert "no Kafka answers" not in one.log_file.read_text()


async def test_while_two_brokers_are_away_nothing_is_acknowledged_and_the_spill_keeps_what_was_accepted(
    kafka_cluster: KafkaCluster, settings: Settings, away, tmp_path: Path
):
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        assert await track(collector.http, "before") == 202
        away(1, 3)
        assert await asyncio.gather(*(track(collector.http, f"e{n}") for n in range(20))) == [202] * 20
        await collector.until_figures("tracker_collect_records_spilled_total 20.0")
        await asyncio.to_thread(kafka_cluster.start, 1, 3)
        await collector.until_status("/readyz", 200, saying='"records":0')
        assert await track(collector.http, "after") == 202
    records = await read_all(settings, SOURCE)
    ids = [orjson.loads(record.value or b"")["data"]["event_id"] for record in records]
    assert [ids[0], *sorted(ids[1:-1]), ids[-1]] == ["before", *sorted(f"e{n}" for n in range(20)), "after"]
    assert sum((await end_offsets(settings, SOURCE)).values()) == len(ids)
