"""Kafka late, Kafka silent, a stop in the middle, a port taken: what is accepted arrives, and nothing hangs."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.fixtures.kafka import kafka_settings
from tests.integration.collect.collector_process import (
    CollectorProcess,
    running_collector,
    spawn,
)
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from tests.stages import freeze
from topics.catalog import SOURCE
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings

TRACK = "/api/v1/events/track"


async def track(collector: CollectorProcess, event_id: str) -> int:
    body = {"event_type": "click", "session_id": f"s-{event_id}", "event_id": event_id}
    async with collector.http.post(TRACK, json=body) as answer:
        answered = await answer.json()
        if answer.status == 503:
            assert answered["error"]["code"] == "kafka_unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status


async def until_accepted(collector: CollectorProcess, event_id: str) -> bool:
    """Send an event as a client does: again, until it is accepted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await track(collector, event_id) == 202:
                return True
            await asyncio.sleep(0.1)


async def event_ids(settings: Settings) -> list[str]:
    return [orjson.loads(record.value)["data"]["event_id"] for record in await read_all(settings, SOURCE)]


@pytest.fixture
def own_kafka(tmp_path: Path):
    """A broker of this test's own, not started: it may be stopped and frozen without harm to others."""
    broker = LocalKafka(kafka_settings(tmp_path / "broker"))
    yield broker
    broker.kill()


@pytest.fixture
def own_settings(own_kafka: LocalKafka, collect_settings: Settings) -> Settings:
    changes = {"kafka_bootstrap": own_kafka.bootstrap, "collect_ack_timeout_ms": 1_000}
    return Settings(**{**collect_settings.model_dump(include=collect_settings.model_fields_set), **changes})


async def test_it_starts_without_kafka_and_what_it_accepts_arrives_when_kafka_and_the_topic_come(
    own_kafka, own_settings, tmp_path
):
    async with running_collector(own_settings, tmp_path / "collect.log", first="/healthz") as collector:
        # It could keep events, but Kafka has never been seen from here: the address may be wrong.
        reason = await collector.until_status("/readyz", 503)
        assert orjson.loads(reason)["error"]["message"]
        async with collector.http.get("/readyz", headers={"Host": "collect.example"}) as answer:
            told = (await answer.json())["error"]
            assert (answer.status, told["code"], told["message"]) == (503, "not_ready", "events can't be accepted now")
        assert await track(collector, "too-early") == 202

        await asyncio.to_thread(own_kafka.start)
        await collector.until_status("/readyz", 503, saying="does not exist")
        assert await track(collector, "no-topic") == 202

        await create_topics(own_settings)
        await collector.until_status("/readyz", 200, saying='"records":0')
        assert await track(collector, "in-time") == 202
        await collector.until_figures("tracker_collect_records_drained_total 2.0")
    assert sorted(await event_ids(own_settings)) == ["in-time", "no-topic", "too-early"]


async def test_without_a_spill_a_silent_broker_means_503_in_time_and_202_when_it_is_back(
    own_kafka, own_settings, tmp_path
):
    own_settings = own_settings.model_copy(update={"spill_max_bytes": 0})
    own_settings.model_fields_set.add("spill_max_bytes")
    await asyncio.to_thread(own_kafka.start)
    await create_topics(own_settings)
    async with running_collector(own_settings, tmp_path / "collect.log") as collector:
        assert await until_accepted(collector, "before")
        freeze(own_kafka.pid)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await asyncio.gather(*(track(collector, f"frozen-{n}") for n in range(20))) == [503] * 20
            await collector.until_status("/readyz", 503)
            await collector.until_status("/healthz", 200)
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        await collector.until_status("/readyz", 200)
        assert await until_accepted(collector, "after")
    assert {"before", "after"} <= set(await event_ids(own_settings))


async def test_a_broker_that_falls_silent_costs_nobody_an_event_and_sends_nothing_twice(
    own_kafka, own_settings, tmp_path
):
    await asyncio.to_thread(own_kafka.start)
    await create_topics(own_settings)
    async with running_collector(own_settings, tmp_path / "collect.log") as collector:
        assert await track(collector, "before") == 202
        freeze(own_kafka.pid)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await asyncio.gather(*(track(collector, f"frozen-{n}") for n in range(20))) == [202] * 20
            answer = orjson.loads(await collector.until_status("/readyz", 200, saying="does not answer"))
            # The first were under way to Kafka when it froze, and are in the spill all the same.
            assert answer["spill"]["records"] == 20
            await collector.until_figures("tracker_collect_records_spilled_total 20.0")
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        await collector.until_status("/readyz", 200, saying='"records":0')
        assert await track(collector, "after") == 202

        await asyncio.to_thread(own_kafka.restart)
        assert await track(collector, "after-restart") == 202
        await collector.until_status("/readyz", 200, saying='"records":0')
    found = await event_ids(own_settings)
    assert sorted(found) == sorted(["before", *(f"frozen-{n}" for n in range(20)), "after", "after-restart"])


async def test_a_stop_answers_what_is_under_way_and_loses_nothing_that_was_accepted(collector):
    statuses: dict[str, int] = {}
    is_busy = asyncio.Event()

    async def client(number: int) -> None:
        for turn in range(10_000):
            event_id = f"{number}-{turn}"
            if len(statuses) >= 200:
                is_busy.set()
            try:
                statuses[event_id] = await track(collector, event_id)
            except aiohttp.ClientConnectionError:
                return  # refused or closed between two requests: nothing of it is in the log

    clients = [asyncio.create_task(client(number)) for number in range(20)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await is_busy.wait()
        collector.terminate()
        await asyncio.gather(*clients)
    assert await collector.exit_code() == 0
    assert set(statuses.values()) == {202}
    found = await event_ids(collector.settings)
    assert sorted(found) == sorted(statuses)


@pytest.mark.parametrize("taken", ["collect_port", "collect_metrics_port"])
async def test_a_port_that_is_taken_is_one_clear_line(collector, tmp_path, taken):
    log_file = tmp_path / "second.log"
    ports = {name: free_port() for name in {"collect_port", "collect_metrics_port"} - {taken}}
    fields = collector.settings.model_dump(include=collector.settings.model_fields_set)
    second = await spawn(Settings(**{**fields, **ports, "log_level": "error"}), log_file)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await second.wait() == 1
    lines = log_file.read_text().splitlines()
    assert len(lines) == 1
    assert f"TRACKER_{taken.upper()}" in lines[0]


async def test_a_broker_far_away_at_the_stop_does_not_hold_it_up(own_settings, tmp_path):
    async with running_collector(own_settings, tmp_path / "collect.log", first="/healthz") as collector:
        await collector.until_status("/readyz", 503)
        collector.terminate()
        assert await collector.exit_code() == 0
