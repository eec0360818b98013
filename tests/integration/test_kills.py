"""20,000 events through HTTP and Kafka, with the processor and the sink killed again and again while they work."""

import asyncio
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.source_log import end_offsets, event_value, read_all
from tests.stages import Stage, wait_until
from topics.catalog import SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import new_producer
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

pytestmark = pytest.mark.slow

EVENTS = 20_000
SESSIONS = 500
PROCESSOR_KILLS = 8
SINK_KILLS = 4
KILLS = PROCESSOR_KILLS + SINK_KILLS
#: The events are fed for about this long, each kill's share before it, so that each has something to interrupt.
FEED_SECONDS = 40.0
KILLING_SECONDS = 30.0
POLL_SECONDS = 0.05
HTTP_CONCURRENCY = 16


class Stack:
    """Collector, processor and sink on a topic prefix of their own."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, data_dir: Path) -> None:
        self.tinybird = tinybird
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap,
            topic_prefix=f"kills-{free_port()}.",
            partitions=4,
            data_dir=data_dir,
            collect_port=free_port(),
            process_port=free_port(),
        )
        environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "4",
            "TRACKER_COLLECT_PORT": str(self.settings.collect_port),
            "TRACKER_PROCESS_PORT": str(self.settings.process_port),
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
        }
        self.collect, self.process, self.sink = (
            Stage(name, data_dir, environment) for name in ("collect", "process", "sink")
        )
        self.stages = (self.collect, self.process, self.sink)
        #: How much of the feed may be sent by now: more with each kill.
        self.share = 1 / (KILLS + 1)

    async def may_send(self, number: int, events: int) -> None:
        """Wait until it is the turn of one of a feed's events."""
        while number >= self.share * events:  # noqa: ASYNC110 - kills are between
            await asyncio.sleep(POLL_SECONDS)

    def written(self) -> int:
        """Rows of this run in events_v1, each counted once."""
        (row,) = self.tinybird.sql(f"SELECT count() AS n FROM events_v1 FINAL WHERE workspace_id = '{self.name}'")
        return int(row["n"])

    @property
    def name(self) -> str:
        return self.settings.topic_prefix

    async def logged(self) -> int:
        """Records in the source topic."""
        return sum((await end_offsets(self.settings, SOURCE)).values())


@pytest.fixture
def stack(kafka_broker: LocalKafka, local_tinybird: LocalTinybird, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(kafka_broker, local_tinybird, tmp_path)
    asyncio.run(admin.create_topics(stack.settings))
    for stage in stack.stages:
        stage.start()
    yield stack
    for stage in stack.stages:
        stage.end()


async def feed_over_kafka(stack: Stack, events: int) -> None:
    """An upstream service: a plain producer with Kafka's own partitioner."""
    async with new_producer(stack.settings, "upstream", linger_ms=5) as producer:
        for number in range(events):
            await stack.may_send(number, events)
            session = f"s-{number % SESSIONS}"
            value = event_value(session, clock.new_id(), workspace_id=stack.name)
            await producer.send(SOURCE.name(stack.name), value, key=session.encode())
            await asyncio.sleep(FEED_SECONDS / events)


async def feed_over_http(stack: Stack, events: int) -> None:
    """Browsers: one event a request, some of them at a time."""
    url = f"http://{LOOPBACK}:{stack.settings.collect_port}/api/v1/events/track"
    numbers = iter(range(events))

    async def browser(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            await stack.may_send(number, events)
            event = {"session_id": f"s-{number % SESSIONS}", "event_type": "click", "workspace_id": stack.name}
            async with session.post(url, json=event) as answer:
                assert answer.status == 202, await answer.text()
            await asyncio.sleep(HTTP_CONCURRENCY * FEED_SECONDS / events)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(browser(session) for _ in range(HTTP_CONCURRENCY)))


async def something_under_way(stack: Stack) -> int:
    """Wait until events are in the log that are not rows yet, and return how many."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            backlog = await stack.logged() - await asyncio.to_thread(stack.written)
            if backlog > 0:
                return backlog


async def kill_at_random(stack: Stack, rng: random.Random) -> list[str]:
    """Kill the processor and the sink at random moments; return what was under way each time."""
    struck: list[str] = []
    victims = [stack.process] * PROCESSOR_KILLS + [stack.sink] * SINK_KILLS
    rng.shuffle(victims)
    for number, stage in enumerate(victims):
        await asyncio.sleep(rng.uniform(0.4, 1.6) * KILLING_SECONDS / KILLS)
        loses_disk = stage is stack.process and rng.random() < 0.5
        if loses_disk:  # after the kill before, it may not have come to its first database yet
            await asyncio.to_thread(wait_until, stage.has_databases, "a disk to lose")
        stack.share = (number + 2) / (KILLS + 1)
        backlog = await something_under_way(stack)
        stage.kill()
        if loses_disk:
            stage.lose_disk()
        struck.append(f"kill {number + 1}: {stage.name}, disk lost: {loses_disk}, {backlog} events on their way")
        stage.start()
    return struck


def numbered_in_log_order(records: list) -> dict[str, list[str]]:
    """Each session's event ids in the order in which the log has them."""
    expected: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record.key is not None:
            value = json.loads(record.value)
            expected[value["session_id"]].append(value["data"]["event_id"])
    return expected


def test_every_accepted_event_is_one_row_with_its_number_whatever_is_killed(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**32)))
    with capsys.disabled():
        print(f"\nseed {seed} (again with TRACKER_TEST_SEED={seed})")

    async def scenario() -> list[str]:
        wait_until_ready = f"http://{LOOPBACK}:{stack.settings.collect_port}/readyz"
        await until_status(wait_until_ready, 200)
        _, _, struck = await asyncio.gather(
            feed_over_kafka(stack, EVENTS // 2),
            feed_over_http(stack, EVENTS // 2),
            kill_at_random(stack, random.Random(seed)),
        )
        return struck

    struck = asyncio.run(scenario())
    with capsys.disabled():
        print("\n".join(struck))
    assert len(struck) >= 10
    wait_until(lambda: stack.written() >= EVENTS, f"{EVENTS} rows in events_v1")
    for stage in stack.stages:
        stage.assert_running()
        assert stage.stop() == 0

    expected = numbered_in_log_order(asyncio.run(read_all(stack.settings, SOURCE)))
    rows = stack.tinybird.sql(
        "SELECT session_id, session_event_sequence AS n, event_id FROM events_v1 FINAL "
        f"WHERE workspace_id = '{stack.name}' ORDER BY session_id, n"
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row["session_id"]].append(row["event_id"])
        assert int(row["n"]) == len(found[row["session_id"]]), f"a gap or a double in {row['session_id']}"
    assert found == expected
    assert sum(map(len, expected.values())) == EVENTS


async def until_status(url: str, status: int) -> None:
    """Wait until an address answers with a status."""
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == status:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL_SECONDS)
