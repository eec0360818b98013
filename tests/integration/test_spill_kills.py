"""Kafka killed under load, and the collector killed too: every 202 is a row, once, in order within its session."""

import asyncio
import json
import os
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.kafka import kafka_settings
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from tests.stages import Stage, wait_until
from topics.catalog import SOURCE
from tracker.kafka import admin
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

pytestmark = pytest.mark.slow

CLIENTS = 24
IS_LONG = os.environ.get("TRACKER_TEST_FAULTS") == "long"
DOWN_SECONDS = 60.0 if IS_LONG else 5.0
COLLECTOR_KILLS = 6 if IS_LONG else 2
END_TIMEOUT_SECONDS = 300 if IS_LONG else PATIENCE_SECONDS


@pytest.fixture
def own_kafka(tmp_path: Path):
    with LocalKafka(kafka_settings(tmp_path / "broker")) as broker:
        yield broker


class Visitors:
    """Each sends its session's events one after the other, the next when it has its 202, each until it has one."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"http://{LOOPBACK}:{settings.collect_port}"
        self._metrics_url = f"http://{LOOPBACK}:{settings.collect_metrics_port}/metrics"
        self._workspace = settings.topic_prefix
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self.stop = asyncio.Event()

    @property
    def total(self) -> int:
        return sum(map(len, self.accepted.values()))

    async def until(self, more: int) -> None:
        goal = self.total + more
        async with asyncio.timeout(END_TIMEOUT_SECONDS):
            while True:
                if self.total >= goal:
                    return
                await asyncio.sleep(0.02)

    async def visit(self, session: str) -> None:
        async with aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(total=15)) as http:
            number = 0
            while not self.stop.is_set():
                event_id = f"{session}-{number}"
                event = {"session_id": session, "event_type": "click", "event_id": event_id}
                try:
                    async with http.post(
                        "/api/v1/events/track", json={**event, "workspace_id": self._workspace}
                    ) as got:
                        is_accepted = got.status == 202
                except (aiohttp.ClientError, TimeoutError):
                    is_accepted = False
                if is_accepted:
                    self.accepted[session].append(event_id)
                    number += 1
                else:
                    await asyncio.sleep(0.05)

    async def metric(self, name: str) -> float:
        """One figure of the collector that runs now."""
        async with aiohttp.ClientSession() as http, http.get(self._metrics_url) as answer:
            lines = (await answer.text()).splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    async def readiness(self) -> dict:
        try:
            async with aiohttp.ClientSession(self._url) as http, http.get("/readyz") as answer:
                return await answer.json()
        except aiohttp.ClientError:
            return {}

    async def until_drained(self) -> None:
        async with asyncio.timeout(END_TIMEOUT_SECONDS):
            while True:
                found = await self.readiness()
                if found.get("kafka") == "ok" and found["spill"]["records"] == 0:
                    return
                await asyncio.sleep(0.1)


async def strike(visitors: Visitors, kafka: LocalKafka, collector: Stage) -> float:
    """Kill Kafka, and the collector while it spills; return how many records went through the spill."""
    await visitors.until(500)
    await asyncio.to_thread(kafka.kill)
    spilled = 0.0
    for _ in range(COLLECTOR_KILLS):
        await visitors.until(300)
        await asyncio.sleep(DOWN_SECONDS / COLLECTOR_KILLS)
        spilled += await visitors.metric("tracker_collect_records_spilled_total")
        collector.kill()
        collector.start()
    await visitors.until(300)
    spilled += await visitors.metric("tracker_collect_records_spilled_total")
    await asyncio.to_thread(kafka.start)
    await visitors.until(300)
    collector.kill()  # in the middle of the drain, or right after it
    collector.start()
    await visitors.until(300)
    visitors.stop.set()
    return spilled


def test_every_202_is_a_row_once_and_in_order(own_kafka: LocalKafka, local_tinybird: LocalTinybird, tmp_path: Path):
    settings = Settings(
        kafka_bootstrap=own_kafka.bootstrap,
        topic_prefix=f"spill-{free_port()}.",
        partitions=4,
        collect_port=free_port(),
        collect_metrics_port=free_port(),
        process_port=free_port(),
        sink_port=free_port(),
    )
    environment = {
        **{f"TRACKER_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set},
        "TRACKER_COLLECT_ACK_TIMEOUT_MS": "500",
        "TRACKER_TINYBIRD_URL": local_tinybird.url,
        "TRACKER_TINYBIRD_TOKEN": local_tinybird.token,
    }
    collector = Stage("collect", tmp_path / "stages", environment)
    others = [Stage(name, tmp_path / "stages", environment) for name in ("process", "sink")]
    visitors = Visitors(settings)

    async def scenario() -> float:
        await admin.create_topics(settings)
        collector.start()
        await visitors.until_drained()
        clients = [asyncio.create_task(visitors.visit(f"{settings.topic_prefix}{n}")) for n in range(CLIENTS)]
        spilled = await strike(visitors, own_kafka, collector)
        await asyncio.gather(*clients)
        await visitors.until_drained()
        return spilled

    def logged() -> int:
        """Events in the log: all that were accepted, and perhaps some whose answer never came."""
        records = asyncio.run(read_all(settings, SOURCE))
        return len({json.loads(record.value or b"")["data"]["event_id"] for record in records})

    query = f"SELECT count() AS n FROM events_v1 FINAL WHERE workspace_id = '{settings.topic_prefix}'"
    try:
        spilled = asyncio.run(scenario())
        for stage in others:
            stage.start()
        expected = logged()
        wait_until(lambda: int(local_tinybird.sql(query)[0]["n"]) >= expected, "all rows", END_TIMEOUT_SECONDS)
    finally:
        for stage in (collector, *others):
            stage.end()

    print(f"{visitors.total} accepted, {spilled:.0f} through the spill, {COLLECTOR_KILLS + 1} kills of the collector")
    assert spilled >= 600
    rows = local_tinybird.sql(
        "SELECT session_id, session_event_sequence AS n, event_id FROM events_v1 FINAL "
        f"WHERE workspace_id = '{settings.topic_prefix}' ORDER BY session_id, n"
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row["session_id"]].append(row["event_id"])
        assert int(row["n"]) == len(found[row["session_id"]]), json.dumps(row)
    for session, accepted in visitors.accepted.items():
        # The last event of a visitor may be there although its answer never came.
        assert found[session][: len(accepted)] == accepted
        assert len(found[session]) - len(accepted) <= 1
