"""The part ``collect``: the collector beside a bare aiohttp echo of the same body and a naive aiohttp with one send.

Each server has the same core for itself; wrk, Kafka and this process share the others. The collector does all that it
does in production: keys, an origin, limits (set so high that they don't bite), validation, the visitor, acks of Kafka.
The servers stay up and take turns, so that a ratio compares what the machine gave within the same seconds.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import orjson

from benchmarks.bench import FAR_ABOVE, Bench, Figure, at_least, at_most, compared, figure
from benchmarks.http_load import Posts, flood, slow_clients, steady
from benchmarks.measure import Worker, WorkerFailedError
from topics.catalog import SOURCE
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

SECONDS: Final = 5
WARM_UP_SECONDS: Final = 2
READY_TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
SESSIONS: Final = 1_000
BATCH_EVENTS: Final = 50
BATCHES: Final = 100
SLOW_CONNECTIONS: Final = 1_000
SLOW_SECONDS: Final = 5

LEAST_OF_ECHO: Final = 0.55
LEAST_BATCH_FACTOR: Final = 8.0
MOST_P99_MS: Final = 25.0
MOST_SLOW_FACTOR: Final = 2.0

_KEY: Final = "bench-write-key-0123456789"
_ORIGIN: Final = "https://shop.example"
_HEADERS: Final = {
    "Content-Type": "text/plain;charset=UTF-8",
    "Origin": _ORIGIN,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0",
    "Accept-Language": "en-GB,en;q=0.9",
}
_MILLION: Final = 1_000_000


class Run(NamedTuple):
    """What a server did with a flood."""

    events_per_second: float
    cpu_per_million: float


class Server(NamedTuple):
    """A server under measurement."""

    worker: Worker
    port: int


class Round(NamedTuple):
    """One turn of each, an event a request."""

    echo: Run
    naive: Run
    single: Run
    half_load_p99_ms: float
    slow_p99_ms: float


class BatchRound(NamedTuple):
    """The collector with an event a request, and with as many as a batch has."""

    single: Run
    batch: Run


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure rounds, and return the figures of all servers.

    Raises:
        WorkerFailedError: a server failed or refused, wrk is missing, or there is only one core.
    """
    settings = bench.settings("bench-collect.")
    await create_topics(settings)
    servers = _servers(settings)
    with ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server.worker)
            server.worker.pin_to_one_core()
            await _wait_until_ready(server)
        # Only now: the servers' core is the last of those that this process may use.
        stack.enter_context(_other_cores(bench.kafka_pid))
        await _warm_up(servers, settings.data_dir)
        rounds = [await _round(bench, number, servers, settings.data_dir) for number in range(1, bench.runs + 1)]
        # After them: Kafka's disk is busy for a while with what batches write, and acks wait for it.
        batch_rounds = [await _batch_round(bench, servers["collector"], settings.data_dir) for _ in rounds]
    return _figures(rounds, batch_rounds)


def _servers(settings: Settings) -> dict[str, Server]:
    work_dir = settings.data_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    keys_file = work_dir / "keys.json"
    write_key = {"name": "bench", "key": _KEY, "workspace_id": "w1", "project_id": "p1", "origins": [_ORIGIN]}
    keys_file.write_bytes(orjson.dumps({"write_keys": [{**write_key, "events_per_second": FAR_ABOVE}]}))
    ports = {name: free_port() for name in ("echo", "naive", "collector")}
    topic = SOURCE.name(settings.topic_prefix)
    naive = ["-m", "benchmarks.http_servers", "naive", str(ports["naive"]), settings.kafka_bootstrap, topic]
    collector = {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(settings.partitions),
        "TRACKER_DATA_DIR": str(work_dir),
        "TRACKER_COLLECT_PORT": str(ports["collector"]),
        "TRACKER_COLLECT_METRICS_PORT": str(free_port()),
        "TRACKER_KEYS_FILE": str(keys_file),
        # All load is from one address.
        "TRACKER_COLLECT_IP_REQUESTS_PER_SECOND": str(FAR_ABOVE),
        "TRACKER_COLLECT_IP_EVENTS_PER_SECOND": str(FAR_ABOVE),
        "TRACKER_COLLECT_IP_NEW_SESSIONS_PER_SECOND": str(FAR_ABOVE),
        "TRACKER_COLLECT_IP_KEY_PERCENT": "100",
        "TRACKER_COLLECT_IP_MAX_CONNECTIONS": "100000",
        "TRACKER_COLLECT_KEY_EVENTS_PER_SECOND": str(FAR_ABOVE),
        "TRACKER_COLLECT_KEY_NEW_SESSIONS_PER_SECOND": str(FAR_ABOVE),
    }
    echo = ["-m", "benchmarks.http_servers", "echo", str(ports["echo"])]
    return {
        "echo": Server(Worker("echo", echo, {}, work_dir), ports["echo"]),
        "naive": Server(Worker("naive", naive, {}, work_dir), ports["naive"]),
        "collector": Server(Worker("collector", ["-m", "tracker", "collect"], collector, work_dir), ports["collector"]),
    }


async def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            server.worker.check_alive()
            try:
                async with http.get(f"http://{LOOPBACK}:{server.port}/readyz") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL_SECONDS)
    raise WorkerFailedError(f"{server.worker.name} was not ready in time\n{server.worker.last_words()}")


async def _warm_up(servers: dict[str, Server], work_dir: Path) -> None:
    for server in servers.values():
        await flood(server.port, _posts(1), WARM_UP_SECONDS, work_dir)


async def _round(bench: Bench, number: int, servers: dict[str, Server], work_dir: Path) -> Round:
    collector = servers["collector"]
    echo = await _flooded(servers["echo"], _posts(1), work_dir)
    single = await _flooded(collector, _posts(1), work_dir)
    naive = await _flooded(servers["naive"], _posts(1), work_dir)
    half = single.events_per_second / 2
    p99_ms = _p99_ms(await steady(collector.port, _posts(1), half, SECONDS))
    async with slow_clients(collector.port, SLOW_CONNECTIONS):
        slow_p99_ms = _p99_ms(await steady(collector.port, _posts(1), half, SLOW_SECONDS))
    bench.say(
        f"collect: round {number} of {bench.runs}: events/s: echo {echo.events_per_second:,.0f}, naive "
        f"{naive.events_per_second:,.0f}, collector {single.events_per_second:,.0f}; "
        f"p99 {p99_ms:.1f} ms at {half:,.0f}/s, {slow_p99_ms:.1f} ms beside slow ones"
    )
    return Round(echo, naive, single, p99_ms, slow_p99_ms)


async def _batch_round(bench: Bench, collector: Server, work_dir: Path) -> BatchRound:
    single = await _flooded(collector, _posts(1), work_dir)
    batch = await _flooded(collector, _posts(BATCH_EVENTS), work_dir)
    bench.say(f"  events/s: {single.events_per_second:,.0f}, in batches {batch.events_per_second:,.0f}")
    return BatchRound(single, batch)


async def _flooded(server: Server, posts: Posts, work_dir: Path) -> Run:
    before = server.worker.cpu_seconds()
    per_second = await flood(server.port, posts, SECONDS, work_dir) * posts.events
    server.worker.check_alive()
    return Run(per_second, (server.worker.cpu_seconds() - before) / (per_second * SECONDS) * _MILLION)


def _posts(events: int) -> Posts:
    """Return posts of one event each, or of one batch each; a post's events are of one session, as a page's are."""
    bodies = []
    for number in range(SESSIONS if events == 1 else BATCHES):
        session_id, now = clock.new_id(), clock.now_iso()
        made = [_event(session_id, now, number + index) for index in range(events)]
        bodies.append(orjson.dumps({**made[0], "sent_at": now} if events == 1 else {"batch": made, "sent_at": now}))
    return Posts(f"/api/v1/events/track?key={_KEY}", _HEADERS, bodies, events)


def _event(session_id: str, now: str, number: int) -> dict[str, object]:
    return {
        "session_id": session_id,
        "event_id": clock.new_id(),
        "event_type": "click",
        "timestamp": now,
        "user_id": f"user-{number % 1_000}",
        "clicked_element": "button#buy",
        "scroll_percentage": float(number % 101),
        "viewport_width": 1280,
        "viewport_height": 720,
        "page_url": f"https://shop.example/products/{number % 500}?utm_source=mail",
        "referrer_url": "https://search.example/",
    }


def _p99_ms(took: Sequence[float]) -> float:
    return took[int(len(took) * 0.99)] * 1_000


@contextmanager
def _other_cores(kafka_pid: int | None) -> Iterator[None]:
    """Keep this process, what it starts from here on (wrk), and Kafka off the servers' core.

    Raises:
        WorkerFailedError: there is only one core.
    """
    cores = os.sched_getaffinity(0)
    others = cores - {max(cores)}  # where Worker.pin_to_one_core puts the servers
    if not others:
        raise WorkerFailedError("the part collect needs two cores: one for the servers, one for the load and Kafka")
    tasks = [int(task.name) for task in Path(f"/proc/{kafka_pid}/task").iterdir()] if kafka_pid else []
    for pid in (0, *tasks):
        os.sched_setaffinity(pid, others)
    try:
        yield
    finally:
        for pid in (0, *tasks):
            os.sched_setaffinity(pid, cores)


def _figures(rounds: Sequence[Round], batch_rounds: Sequence[BatchRound]) -> list[Figure]:
    echo = figure("echo.events_per_second", "1/s", [round_.echo.events_per_second for round_ in rounds])
    echo_cpu = figure("echo.cpu_per_million_events", "s", [round_.echo.cpu_per_million for round_ in rounds])
    single = [round_.single.events_per_second for round_ in rounds]
    single_figure = compared("collect.events_per_second", "1/s", single, echo)
    single_cpu = [round_.single.cpu_per_million for round_ in rounds]
    return [
        echo,
        echo_cpu,
        figure("naive.events_per_second", "1/s", [round_.naive.events_per_second for round_ in rounds]),
        figure("naive.cpu_per_million_events", "s", [round_.naive.cpu_per_million for round_ in rounds]),
        single_figure,
        compared("collect.cpu_per_million_events", "s", single_cpu, echo_cpu, less_is_better=True),
        figure("collect.batch.events_per_second", "1/s", [each.batch.events_per_second for each in batch_rounds]),
        figure("collect.batch.cpu_per_million_events", "s", [each.batch.cpu_per_million for each in batch_rounds]),
        at_least(
            "collect.of_echo",
            "x",
            [round_.single.events_per_second / round_.echo.events_per_second for round_ in rounds],
            LEAST_OF_ECHO,
        ),
        at_least(
            "collect.batch.of_single",
            "x",
            [each.batch.events_per_second / each.single.events_per_second for each in batch_rounds],
            LEAST_BATCH_FACTOR,
        ),
        at_most("collect.half_load.p99", "ms", [round_.half_load_p99_ms for round_ in rounds], MOST_P99_MS),
        at_most(
            "collect.slow_connections.p99_factor",
            "x",
            [round_.slow_p99_ms / round_.half_load_p99_ms for round_ in rounds],
            MOST_SLOW_FACTOR,
        ),
    ]
