"""Several processes on one port: restarts and crashes under load lose and refuse nothing."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import psutil
import pytest

from tests.integration.collect.collector_process import CollectorProcess, running_collector, spawn
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from topics.catalog import SOURCE
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
PROCESSES = 2
CLIENTS = 16


@pytest.fixture
def many_settings(collect_settings: Settings) -> Settings:
    fields = collect_settings.model_dump(include=collect_settings.model_fields_set)
    return Settings(**fields, collect_processes=PROCESSES)


@pytest.fixture
async def collector(many_settings: Settings, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    await create_topics(many_settings)
    async with running_collector(many_settings, tmp_path / "collect.log") as running:
        yield running


class Load:
    """Clients that keep their connections, and some that make a new one for each request."""

    def __init__(self, collector: CollectorProcess) -> None:
        self.collector = collector
        self.accepted: list[str] = []
        self.failures: Counter[str] = Counter()
        self._stop = asyncio.Event()

    async def until_accepted(self, more: int) -> None:
        goal = len(self.accepted) + more
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if len(self.accepted) >= goal:
                    return
                await asyncio.sleep(0.02)

    async def client(self, number: int, *, keeps_connection: bool) -> None:
        connector = aiohttp.TCPConnector(force_close=not keeps_connection)
        async with aiohttp.ClientSession(self.collector.url, connector=connector) as http:
            turn = 0
            while not self._stop.is_set():
                event_id = f"{number}-{turn}"
                turn += 1
                body = {"event_type": "click", "session_id": f"s-{number}", "event_id": event_id}
                try:
                    async with http.post(TRACK, json=body) as answer:
                        if answer.status == 202:
                            self.accepted.append(event_id)
                        else:
                            self.failures[str(answer.status)] += 1
                except aiohttp.ClientError as error:
                    self.failures[type(error).__name__] += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        clients = [
            asyncio.create_task(self.client(number, keeps_connection=number % 2 == 0)) for number in range(CLIENTS)
        ]
        try:
            yield self
        finally:
            self._stop.set()
            await asyncio.gather(*clients)


def children(collector: CollectorProcess) -> set[int]:
    return {child.pid for child in psutil.Process(collector.process.pid).children()}


async def until_children(collector: CollectorProcess, old: set[int]) -> set[int]:
    """Wait until there are as many children as there should be, none of them an old one."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            now = children(collector)
            if len(now) == PROCESSES and not now & old:
                return now
            await asyncio.sleep(0.05)


async def test_a_restart_under_load_refuses_and_loses_nothing(collector):
    async with Load(collector).running() as load:
        await load.until_accepted(200)
        for _ in range(2):
            old = children(collector)
            assert len(old) == PROCESSES
            collector.process.send_signal(signal.SIGHUP)
            await until_children(collector, old)
            await load.until_accepted(200)
    assert load.failures == Counter()
    found = [orjson.loads(record.value)["data"]["event_id"] for record in await read_all(collector.settings, SOURCE)]
    assert sorted(found) == sorted(load.accepted)
    # Those of the processes that have ended are counted, too.
    counted = f'tracker_collect_requests_total{{endpoint="{TRACK}",status="202"}} {float(len(load.accepted))}'
    await collector.until_figures(f"{counted}\n")


async def test_a_process_that_is_killed_is_replaced_and_what_was_accepted_is_there(collector):
    async with Load(collector).running() as load:
        await load.until_accepted(100)
        old = children(collector)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await until_children(collector, old)
        await load.until_accepted(100)
    # Who was being answered has seen its connection break; nobody was refused.
    assert not [name for name in load.failures if "Connector" in name or name.isdigit()]
    found = {orjson.loads(record.value)["data"]["event_id"] for record in await read_all(collector.settings, SOURCE)}
    assert set(load.accepted) <= found


async def test_a_process_that_is_killed_while_all_start_is_replaced(many_settings, tmp_path):
    await create_topics(many_settings)
    async with running_collector(many_settings, tmp_path / "collect.log", first=None) as collector:
        first = await until_children(collector, set())
        for pid in first:
            os.kill(pid, signal.SIGKILL)  # long before Python has even loaded what it needs to say that it accepts
        await collector.until_status("/readyz", 200)
        await until_children(collector, first)
    assert collector.process.returncode == 0


async def test_both_processes_take_their_share(collector):
    def have_connections() -> bool:  # besides the one on which each listens
        return all(len(psutil.Process(pid).net_connections("tcp")) > 1 for pid in children(collector))

    async with Load(collector).running(), asyncio.timeout(PATIENCE_SECONDS):
        while not have_connections():  # noqa: ASYNC110 - other processes accept them
            await asyncio.sleep(0.02)


async def test_a_restart_into_a_broken_configuration_leaves_the_old_processes(many_settings, tmp_path):
    await create_topics(many_settings)
    flags = tmp_path / "flags.json"
    flags.write_text(orjson.dumps({"steps": [{"from": "2026-01-01T00:00:00Z", "lane": "tracker"}]}).decode())
    settings = Settings(**many_settings.model_dump(include=many_settings.model_fields_set), migration_file=flags)
    log_file = tmp_path / "collect.log"
    async with running_collector(settings, log_file) as collector:
        old = children(collector)
        flags.write_text("{")
        collector.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if "the restart failed; the old processes go on" in log_file.read_text():
                    break
                await asyncio.sleep(0.1)
        assert children(collector) == old
        await collector.until_status("/readyz", 200)


async def test_a_stop_ends_all_and_a_port_that_is_taken_is_one_clear_line(collector, tmp_path):
    log_file = tmp_path / "second.log"
    second = await spawn(collector.settings, log_file)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await second.wait() == 1
    assert "TRACKER_COLLECT_PORT" in log_file.read_text()
    assert len(log_file.read_text().splitlines()) == 1
    pids = children(collector)
    collector.terminate()
    assert await collector.exit_code() == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
