"""From a POST to a row that a query finds, through collector, processor, sink and a real ClickHouse, at half load.

First everything is sent as fast as it is accepted, which shows what this machine can do with all stages on it; then
half of that, evenly. Some of those events are probes: timed from before their POST to the query that finds them.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import aiohttp
import orjson

from benchmarks.bench import FAR_ABOVE, PARTITIONS, Bench, Figure, at_most, figure
from benchmarks.measure import PROJECT_DIR, Worker, WorkerFailedError
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.local.ports import LOOPBACK, free_port
from tracker.local.stack import environment
from tracker.settings import Settings

P50_GOAL_SECONDS: Final = 0.7
P99_GOAL_SECONDS: Final = 1.5
FLOOD_SECONDS: Final = 8.0
HALF_LOAD_SECONDS: Final = 20.0
EVENTS_PER_POST: Final = 50
FLOOD_CONCURRENCY: Final = 8
PROBES_PER_SECOND: Final = 10
SESSIONS: Final = 1_000
POLL_SECONDS: Final = 0.02
READY_TIMEOUT_SECONDS: Final = 90.0
DRAIN_TIMEOUT_SECONDS: Final = 180.0
PROBE: Final = "probe"
PROBES_FOUND: Final = "SELECT event_id FROM events_v1 WHERE workspace_id = 'probe'"


class Stack:
    """All stages of one run, and how to send and query."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._http = http
        self._url = f"http://{LOOPBACK}:{settings.collect_port}/api/v1/events/track"
        self.sent = 0

    async def post(self, probe_id: str | None = None) -> None:
        """Send events; the last one is a probe if there is an id for it."""
        batch = [self._event(clock.new_id(), "load") for _ in range(EVENTS_PER_POST)]
        if probe_id is not None:
            batch[-1] = self._event(probe_id, PROBE)
        self.sent += len(batch)
        body = orjson.dumps({"batch": batch})
        async with self._http.post(self._url, data=body, headers={"Content-Type": "application/json"}) as answer:
            if answer.status != 202:
                raise WorkerFailedError(f"the collector answered {answer.status}: {await answer.text()}")

    def _event(self, event_id: str, workspace_id: str) -> dict[str, Any]:
        self.sent_number = getattr(self, "sent_number", 0) + 1
        return {
            "session_id": f"session-{self.sent_number % SESSIONS}",
            "event_id": event_id,
            "event_type": "click",
            "workspace_id": workspace_id,
            "clicked_element": "button#buy",
            "page_url": "https://shop.example/products/17?utm=1",
        }

    async def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        headers = {"Authorization": f"Bearer {self._settings.tinybird_token.get_secret_value()}"}
        url = f"{self._settings.tinybird_url}/v0/sql"
        async with self._http.post(url, data=f"{sql} FORMAT JSON", headers=headers) as answer:
            rows: list[dict[str, Any]] = (await answer.json())["data"]
            return rows

    async def wait_until_all_can_be_read(self) -> None:
        """Wait until every event that was sent is a row."""
        async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
            while (await self.query("SELECT count() AS n FROM events_v1"))[0]["n"] < self.sent:  # noqa: ASYNC110 - a query
                await asyncio.sleep(POLL_SECONDS * 10)


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure latency at half load.

    Raises:
        WorkerFailedError: a worker failed.
    """
    settings = bench.settings("bench-latency.").model_copy(
        update={
            "tinybird_url": f"http://{LOOPBACK}:{free_port()}",
            "tinybird_project_dir": PROJECT_DIR / "tinybird",
            "collect_key_events_per_second": FAR_ABOVE,
            "collect_ip_requests_per_second": FAR_ABOVE,
            **{f"{stage}_port": free_port() for stage in ("collect", "collect_metrics", "process", "sink")},
        }
    )
    await create_topics(settings)
    env = environment_of(settings)
    timeout = aiohttp.ClientTimeout(total=DRAIN_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        with ExitStack() as workers:
            for name, arguments in {
                "tinybird": ["local", "tinybird"],
                "collect": ["collect"],
                "process": ["process"],
                "sink": ["sink"],
            }.items():
                worker = Worker(name, ["-m", "tracker", *arguments], env, settings.data_dir)
                workers.enter_context(worker)
                if name == "tinybird":
                    await wait_for(http, f"{settings.tinybird_url}/healthz", worker)
                elif name != "process":
                    port = settings.collect_port if name == "collect" else settings.sink_port
                    await wait_for(http, f"http://{LOOPBACK}:{port}/readyz", worker)
            stack = Stack(settings, http)
            capacity = await _flood(stack)
            bench.say(f"sink: all stages on this machine take {capacity:,.0f} events/s; half of that for latency")
            latencies = sorted(await _half_load(stack, capacity / 2))
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    bench.say(f"  from POST to a row that can be read: p50 {p50:.2f} s, p99 {p99:.2f} s, {len(latencies)} probes")
    return [
        figure("sink.all_stages_events_per_second", "1/s", [capacity]),
        at_most("sink.latency_p50_at_half_load", "s", [p50], P50_GOAL_SECONDS),
        at_most("sink.latency_p99_at_half_load", "s", [p99], P99_GOAL_SECONDS),
    ]


async def _flood(stack: Stack) -> float:
    """Send as fast as it is accepted; return how many events a second became rows."""
    await stack.post()
    await stack.wait_until_all_can_be_read()
    began, before = time.monotonic(), stack.sent

    async def flood() -> None:
        while time.monotonic() - began < FLOOD_SECONDS:
            await stack.post()

    await asyncio.gather(*(flood() for _ in range(FLOOD_CONCURRENCY)))
    await stack.wait_until_all_can_be_read()
    return (stack.sent - before) / (time.monotonic() - began)


async def _half_load(stack: Stack, events_per_second: float) -> list[float]:
    """Send evenly; return each probe's seconds from POST to row."""
    posted: dict[str, float] = {}
    found: dict[str, float] = {}
    began = time.monotonic()
    pending: set[asyncio.Task[None]] = set()
    watching = asyncio.create_task(_watch(stack, found))
    posts = 0
    while (now := time.monotonic()) - began < HALF_LOAD_SECONDS:
        probe = f"{PROBE}-{len(posted)}" if len(posted) < (now - began) * PROBES_PER_SECOND else None
        if probe is not None:
            posted[probe] = now
        pending.add(asyncio.create_task(stack.post(probe)))
        posts += 1
        await asyncio.sleep(max(0.0, began + posts * EVENTS_PER_POST / events_per_second - time.monotonic()))
    await asyncio.gather(*pending)
    async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
        while len(found) < len(posted):  # noqa: ASYNC110 - the watcher has no end of its own
            await asyncio.sleep(POLL_SECONDS)
    watching.cancel()
    return [found[probe] - at for probe, at in posted.items()]


async def _watch(stack: Stack, found: dict[str, float]) -> None:
    while True:
        rows = await stack.query(PROBES_FOUND)
        now = time.monotonic()
        for row in rows:
            found.setdefault(row["event_id"], now)
        await asyncio.sleep(POLL_SECONDS)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return what gives a worker these very settings."""
    assert settings.partitions == PARTITIONS
    return environment(settings)


async def wait_for(http: aiohttp.ClientSession, url: str, worker: Worker) -> None:
    """Wait until an address answers 200.

    Raises:
        WorkerFailedError: the worker ended, or it takes too long.
    """
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        worker.check_alive()
        try:
            async with http.get(url) as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(POLL_SECONDS * 5)
    raise WorkerFailedError(f"{worker.name} was not ready in time\n{worker.last_words()}")
