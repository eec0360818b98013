"""The clients against a real collector and processor, with the network cut meanwhile: in order, each event once."""

import asyncio
import urllib.request
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from event_tracker_client import Client, Limits, Undelivered
from event_tracker_client.kafka import KafkaClient

from tests.fixtures.proxy import Proxy
from tests.patience import PATIENCE_MS, PATIENCE_SECONDS
from tests.source_log import read_all
from tests.stages import Stage, wait_until
from topics.catalog import SEQUENCED, SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import partition_for_key
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

PARTITIONS = 4
SESSIONS = 3
EVENTS = 30


@pytest.fixture(scope="module")
def settings(kafka_broker: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"clients-{clock.new_id()}.",
        partitions=PARTITIONS,
        process_port=free_port(),
        collect_port=free_port(),
        data_dir=tmp_path_factory.mktemp("clients"),
    )
    asyncio.run(admin.create_topics(settings))
    return settings


@pytest.fixture(scope="module", autouse=True)
def stack(settings: Settings) -> Iterator[None]:
    """A processor and a collector that is ready."""
    environment = {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(PARTITIONS),
        "TRACKER_PROCESS_PORT": str(settings.process_port),
        "TRACKER_COLLECT_PORT": str(settings.collect_port),
    }
    stages = [Stage(name, settings.data_dir / name, environment) for name in ("process", "collect")]
    for stage in stages:
        stage.start()
    wait_until(lambda: is_ready(settings), "a collector that is ready")
    yield
    for stage in stages:
        stage.end()


def is_ready(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://{LOOPBACK}:{settings.collect_port}/readyz", timeout=PATIENCE_SECONDS
        ) as answer:
            return answer.status == 200
    except OSError:
        return False


def numbered(settings: Settings, sessions: list[str]) -> dict[str, list[tuple[int, str]]]:
    """The numbers and ids of these sessions' events, in the order of the log."""
    found = defaultdict(list)
    for record in asyncio.run(read_all(settings, SEQUENCED)):
        row = orjson.loads(record.value)
        if row["session_id"] in sessions:
            found[row["session_id"]].append((row["session_event_sequence"], row["event_id"]))
    return found


def until_numbered(settings: Settings, told: dict[str, list[str]]) -> None:
    """Wait until each session has its events, once, in the order in which they were told."""
    expected = {session_id: list(enumerate(ids, 1)) for session_id, ids in told.items()}
    wait_until(
        lambda: sum(map(len, numbered(settings, list(told)).values())) >= sum(map(len, told.values())),
        "a number for each event",
        PATIENCE_SECONDS,
    )
    assert numbered(settings, list(told)) == expected


async def test_over_http_each_event_is_numbered_once_although_the_network_is_cut(settings: Settings):
    failures: list[Undelivered] = []
    told: dict[str, list[str]] = {clock.new_id(): [] for _ in range(SESSIONS)}
    limits = Limits(max_batch_events=10, flush_interval_ms=10, max_retry_wait_ms=50)
    port = free_port()

    def tell() -> None:
        for _ in range(EVENTS):
            for session_id, ids in told.items():
                ids.append(client.track(session_id, "click", metadata={"n": len(ids)}))

    with (
        Proxy(port, settings.collect_port) as network,
        Client(f"http://{LOOPBACK}:{port}", limits=limits, request_timeout_ms=500, on_error=failures.append) as client,
    ):
        tell()
        await asyncio.to_thread(wait_until, lambda: client.delivered > 0, "a first delivery", PATIENCE_SECONDS)
        network.cut()
        tell()
        lane = client._lanes[0]
        await asyncio.to_thread(wait_until, lambda: lane._outbox._failures >= 2, "two failed tries", PATIENCE_SECONDS)
        assert client.waiting > 0
        network.mend()
        assert await client.aflush(PATIENCE_MS) == 0
    assert failures == []
    assert client.delivered == 2 * EVENTS * SESSIONS
    await asyncio.to_thread(until_numbered, settings, told)


async def lines_until(output: asyncio.StreamReader, wanted: list[str], said: list[bytes] | None = None) -> list[bytes]:
    """Read lines until each of these words is in one."""
    lines = list(said or [])
    while not all(any(word.encode() in line for line in lines) for word in wanted):
        lines.append(await output.readline())
        assert lines[-1], lines
    return lines


async def test_from_node_each_event_is_numbered_once_although_the_network_is_cut(settings: Settings):
    port = free_port()
    command = [
        "node",
        str(Path(__file__).with_name("tell.mjs")),
        f"http://{LOOPBACK}:{port}",
        str(SESSIONS),
        str(EVENTS),
    ]
    with Proxy(port, settings.collect_port) as network:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                process.stdin.write(b"tell\n")
                said = await lines_until(process.stdout, ["waiting"])
                network.cut()
                process.stdin.write(b"tell\n")
                said = await lines_until(process.stdout, ["waiting", "the tracker takes nothing now"], said[:-1])
                assert orjson.loads(next(line for line in said if b"waiting" in line))["waiting"] > 0
                network.mend()
                process.stdin.close()
                *_, last = (await process.stdout.read()).splitlines()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    result = orjson.loads(last)
    assert (result["failures"], result["delivered"]) == ([], 2 * EVENTS * SESSIONS)
    await asyncio.to_thread(until_numbered, settings, result["told"])


def test_over_kafka_a_session_is_where_it_belongs_and_numbered_in_order(settings: Settings):
    told = {clock.new_id(): [] for _ in range(12)}
    topic = SOURCE.name(settings.topic_prefix)
    with KafkaClient(settings.kafka_bootstrap, workspace_id="w1", topic=topic) as client:
        for session_id, ids in told.items():
            client.init_session(session_id, campaign_id="spring", user_id="u1")
            ids.extend(client.track(session_id, "click", metadata={"n": n}) for n in range(5))
        assert client.flush(PATIENCE_MS) == 0
        assert (client.delivered, client.given_up) == (12 * 6, {})
    for record in asyncio.run(read_all(settings, SOURCE)):
        if record.key and record.key.decode() in told:
            assert record.partition == partition_for_key(record.key, PARTITIONS)
    until_numbered(settings, told)
