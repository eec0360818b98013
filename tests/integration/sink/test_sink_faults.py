"""The sink in front of a Tinybird that fails in every way, killed and rebalanced meanwhile: each row once, or a letter.

``make faults-sink`` runs it long: with the waits of the real Tinybird, and an outage of minutes.
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiokafka import TopicPartition

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.sink.faulty_tinybird import (
    FAULT_PERCENT,
    PARTIAL,
    QUARANTINED,
    REFUSED,
    ROW_FATES,
    VIEW_FAILED,
    WHY_REFUSED,
    FaultyTinybird,
    faulty_tinybird,
)
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from tests.stages import Stage
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, Topic
from topics.dead_letter import DeadLetter
from topics.headers import write_position
from tracker.datasources.files import shipped_datasources
from tracker.kafka import admin
from tracker.kafka.clients import new_producer, new_reader
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

PARTITIONS = 4
COLUMNS = {name: datasource.columns for name, datasource in shipped_datasources().items()}
#: As many outputs come again when a processor is killed.
MAX_REPEATED = 60
#: The share of rows that are not simply taken.
BAD_ROWS = 0.004
POLL_SECONDS = 0.25
#: The group's own time, for starting a second worker or missing a killed one.
KAFKA_SESSION_TIMEOUT_MS = 3_000


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    events: int
    sessions: int
    phase_seconds: float
    request_timeout_seconds: float
    stall_seconds: float
    storm_seconds: float
    outage_seconds: float
    kills: int
    settle_seconds: float


SHORT = Scale(4_000, 400, 0.5, 1.0, 1.2, 0.5, 2, 2, PATIENCE_SECONDS)
#: Each bad row takes some twenty requests, a quarter of which fail: more rows would take hours.
LONG = Scale(20_000, 2_000, 8, 20, 30, 5, float(os.environ.get("TRACKER_TEST_FAULTS_OUTAGE_SECONDS", "600")), 12, 1_800)
SCALE = LONG if os.environ.get("TRACKER_TEST_FAULTS") == "long" else SHORT


@dataclass
class Fed:
    """What was put into the output topics: each row's identity, and what is to become of it."""

    fates: dict[str, dict[str, str]] = field(default_factory=lambda: {"events_v1": {}, "session_v1": {}})
    repeated: int = 0
    #: How much of everything may be there by now, from 0 to 1: rows come while things happen, not before.
    share: float = 0.1

    def expected(self, datasource: str) -> set[str]:
        """Rows that must be in ClickHouse."""
        return {name for name, fate in self.fates[datasource].items() if fate in {"", VIEW_FAILED}}

    def letters(self) -> dict[str, str]:
        """Rows that must be dead letters, with what their detail must say."""
        says = {REFUSED: WHY_REFUSED, PARTIAL: "a materialized view failed", QUARANTINED: "quarantined: "}
        return {name: says[fate] for fates in self.fates.values() for name, fate in fates.items() if fate in says}


class Run:
    """Two sinks of one group on topics of their own."""

    def __init__(self, broker: LocalKafka, data_dir: Path, tinybird_url: str, token: str) -> None:
        self.settings = Settings(
            kafka_bootstrap=broker.bootstrap, topic_prefix=f"faults-{free_port()}.", partitions=PARTITIONS
        )
        self.ports = {name: free_port() for name in ("worker-1", "worker-2")}
        common = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_KAFKA_SESSION_TIMEOUT_MS": str(KAFKA_SESSION_TIMEOUT_MS),
            "TRACKER_TINYBIRD_URL": tinybird_url,
            "TRACKER_TINYBIRD_TOKEN": token,
            "TRACKER_TINYBIRD_TIMEOUT_SECONDS": str(SCALE.request_timeout_seconds),
            "TRACKER_SINK_BATCH_MAX_ROWS": "400",
            # Reached in the outage: then nothing is wanted of Kafka, and the group must not mind.
            "TRACKER_SINK_MAX_HELD_BYTES": "1000000",
            # Rows are bad here as often as a bad deploy makes them; that it would stop is tested elsewhere.
        }
        self.first, self.second = (
            Stage("sink", data_dir / name, {**common, "TRACKER_WORKER_ID": name, "TRACKER_SINK_PORT": str(port)})
            for name, port in self.ports.items()
        )

    @property
    def name(self) -> str:
        return self.settings.topic_prefix


@pytest.fixture
def seed(capsys: pytest.CaptureFixture[str]) -> int:
    seed = int(os.environ.get("TRACKER_TEST_SEED", random.randrange(2**32)))
    with capsys.disabled():
        print(f"\nseed {seed} (again with TRACKER_TEST_SEED={seed})")
    return seed


def row_of(run: Run, datasource: str, name: str, fate: str) -> bytes:
    """A row with something in every column that needs a value."""
    values = {"String": "", "UInt32": 1, "UInt64": 2, "Bool": False, "DateTime64(3)": "2026-01-02T03:04:05.678Z"}
    row = {
        column.name: values[re.sub(r"LowCardinality\((.+)\)", r"\1", column.type)]
        for column in COLUMNS[datasource]
        if not column.nullable
    }
    row |= {"workspace_id": run.name, "session_id": name}
    row |= {"id": name, "page_url": fate} if datasource == "events_v1" else {"project_id": fate}
    return orjson.dumps(row)


async def feed(run: Run, rng: random.Random, fed: Fed) -> None:
    """Numbered outputs as a processor writes them, some of them again as after its kill."""
    async with new_producer(run.settings, "feeder") as producer:

        async def feed_partition(topic: Topic, datasource: str, partition: int, count: int) -> None:
            sent: list[ProducerRecord] = []
            begin, steps = 0, 40
            for step in range(1, steps + 1):
                end = count * step // steps
                new = [output(topic, datasource, partition, number) for number in range(begin, end)]
                again = sent[-rng.randrange(1, MAX_REPEATED) :] if rng.random() < 0.2 else []
                fed.repeated += len(again)
                sent = [*sent, *new][-MAX_REPEATED:]
                await send_batches(producer, topic.name(run.name), partition, [*again, *new])
                begin = end
                await until(lambda: step / steps <= fed.share)  # noqa: B023 - it is awaited here

        def output(topic: Topic, datasource: str, partition: int, number: int) -> ProducerRecord:
            name = f"{run.name}{topic.suffix}-{partition}-{number}"
            fate = rng.choice(ROW_FATES) if rng.random() < BAD_ROWS else ""
            fed.fates[datasource][name] = fate
            return name.encode(), row_of(run, datasource, name, fate), write_position(partition, number, 0)

        await asyncio.gather(
            *(
                feed_partition(topic, datasource, partition, count // PARTITIONS)
                for topic, datasource, count in (
                    (SEQUENCED, "events_v1", SCALE.events),
                    (SESSIONS, "session_v1", SCALE.sessions),
                )
                for partition in range(PARTITIONS)
            )
        )


async def strike(run: Run, faulty: FaultyTinybird, rng: random.Random, fed: Fed) -> None:
    """Kills, rebalances and an outage, one after the other, with rows on their way."""
    phases = SCALE.kills * 2 + 2

    async def phase(number: int) -> None:
        fed.share = number / phases
        await asyncio.sleep(SCALE.phase_seconds * rng.uniform(0.5, 1.5))

    for number in range(SCALE.kills):
        await status_of(run, "worker-1")
        await phase(number * 2 + 1)
        await until_under_way(run)
        run.first.kill()
        run.first.start()
        await phase(number * 2 + 2)
        if number % 2:
            await status_of(run, "worker-2")
            assert await asyncio.to_thread(run.second.stop) == 0
        else:
            run.second.start()
    if SCALE.kills % 2:
        await status_of(run, "worker-2")
        assert await asyncio.to_thread(run.second.stop) == 0
    await status_of(run, "worker-1")
    faulty.is_away = True
    await phase(phases)
    await until(lambda: faulty.requests_while_away > 2)
    async with asyncio.timeout(SCALE.settle_seconds):
        while await status_of(run, "worker-1") != 503:  # noqa: ASYNC110 - it asks another process
            await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(SCALE.outage_seconds)
    run.first.assert_running()
    faulty.is_away = False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SCALE.settle_seconds):
        while not holds():  # noqa: ASYNC110 - it looks at what others do
            await asyncio.sleep(POLL_SECONDS)


async def status_of(run: Run, worker: str) -> int:
    """What the worker's ``/readyz`` says, once it works on partitions."""
    url = f"http://{LOOPBACK}:{run.ports[worker]}/readyz"
    async with asyncio.timeout(SCALE.settle_seconds), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(url) as answer:
                    if (await answer.json())["partitions"] > 0:
                        return answer.status
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL_SECONDS)


async def until_under_way(run: Run) -> None:
    """Wait until there are rows that are not committed, so that a kill has something to interrupt."""
    await _until_lag(run, lambda lag: lag > 0)


async def wait_until_committed(run: Run) -> None:
    """Wait until the group has committed the end of every partition."""
    await _until_lag(run, lambda lag: lag == 0)


async def _until_lag(run: Run, is_wanted: Callable[[int], bool]) -> None:
    """Wait until as many records are not committed as is wanted."""
    async with (
        asyncio.timeout(SCALE.settle_seconds),
        new_reader(run.settings, "test-ends") as reader,
        admin.connect(run.settings, timeout_seconds=30) as client,
    ):
        partitions = [
            TopicPartition(topic.name(run.name), number)
            for topic in (SEQUENCED, SESSIONS)
            for number in range(PARTITIONS)
        ]
        while True:
            ends = await reader.end_offsets(partitions)
            committed = await client.list_consumer_group_offsets(f"{run.name}sink")
            done = {tp: committed[tp].offset if tp in committed else 0 for tp in partitions}
            if is_wanted(sum(ends[tp] - done[tp] for tp in partitions)):
                return
            await asyncio.sleep(POLL_SECONDS)


async def letters_of(run: Run) -> dict[str, set[str]]:
    """Which rows are dead letters, and what the letters say. A letter may be there twice, after a kill."""
    found: dict[str, set[str]] = {}
    for record in await read_all(run.settings, DEAD_LETTERS):
        letter = DeadLetter.model_validate_json(record.value)
        assert letter.reason == "refused"
        assert letter.stage == "sink"
        assert letter.value is not None
        row = orjson.loads(letter.value)
        found.setdefault(row.get("id") or row["session_id"], set()).add(letter.detail)
    return found


def logs_of(directory: Path) -> str:
    return "".join(file.read_text() for file in directory.rglob("*.log"))


async def test_each_row_is_in_clickhouse_once_or_a_dead_letter_whatever_fails(
    kafka_broker: LocalKafka,
    local_tinybird: LocalTinybird,
    tmp_path: Path,
    seed: int,
    capsys: pytest.CaptureFixture[str],
):
    rng, fed = random.Random(seed), Fed()
    async with faulty_tinybird(
        local_tinybird, seed, stall_seconds=SCALE.stall_seconds, storm_seconds=SCALE.storm_seconds
    ) as faulty:
        run = Run(kafka_broker, tmp_path, faulty.url, local_tinybird.token)
        await admin.create_topics(run.settings)
        try:
            run.first.start()
            await asyncio.gather(feed(run, rng, fed), strike(run, faulty, rng, fed))
            await wait_until_committed(run)
            assert await asyncio.to_thread(run.first.stop) == 0
        finally:
            run.first.end()
            run.second.end()
        letters = await letters_of(run)
        logs = await asyncio.to_thread(logs_of, tmp_path)
        with capsys.disabled():
            print(
                f"{sum(map(len, fed.fates.values()))} rows, {fed.repeated} repeated, {len(letters)} dead letters, "
                f"starts: {run.first.starts}, {run.second.starts}; away: {faulty.requests_while_away}, "
                f"faults: {dict(faulty.injected)}"
            )
    assert run.first.starts == SCALE.kills + 1
    assert len(faulty.injected) >= len(FAULT_PERCENT), "some faults may not be drawn in a short run, not most"
    for datasource, column in (("events_v1", "id"), ("session_v1", "session_id")):
        query = f"SELECT {column} AS name FROM {datasource} FINAL WHERE workspace_id = '{run.name}'"
        rows = Counter(row["name"] for row in await asyncio.to_thread(local_tinybird.sql, query))
        assert set(rows.values()) == {1}
        assert rows.keys() - fed.expected(datasource) == set()
        assert fed.expected(datasource) - rows.keys() == set()
    says = fed.letters()
    assert letters.keys() == says.keys()
    for name, details in letters.items():
        assert all(says[name] in detail for detail in details), (name, details)
    assert local_tinybird.token not in logs
