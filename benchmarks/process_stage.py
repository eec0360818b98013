"""The part ``process``: the process stage beside a stock Faust agent, each as a worker of its own on the same events.

Each run loads its events into fresh topics before any worker starts, then lets one worker after the other number
them all, and reads back what came out. The process stage does all that it does in production; stock Faust does the
bare sequence.

CPU is the worker's whole life as the kernel counts it, start-up and stop included. What those cost is measured too,
by a worker on empty topics that is stopped once it is ready and has been quiet as long; ``cpu_per_million_events``
is without it, ``cpu_per_million_events_all_in`` is with it. A ratio compares like with like.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import NewTopic

from benchmarks.bench import Bench, Figure, compared, figure
from benchmarks.load import Load, load_events
from benchmarks.measure import Usage, Worker, WorkerFailedError
from benchmarks.processor import Processor
from benchmarks.watch import POLL_SECONDS, Pace, check_outputs, wait_for_outputs, wait_until_quiet
from topics.catalog import CHANGELOG, SEQUENCED, SOURCE
from tracker.kafka.admin import connect, create_topics
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

READY_TIMEOUT_SECONDS: Final = 60.0
_MILLION: Final = 1_000_000

IsReady = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker to measure, the topics that it writes, and how to see that it is ready."""

    worker: Worker
    output_topic: str
    changelog_topic: str
    is_ready: IsReady


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's run: what it used, what of that is start-up and stop, and how fast it was."""

    events: int
    usage: Usage
    start_up_cpu_seconds: float
    pace: Pace

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million events, without start-up and stop."""
        return (self.usage.cpu_seconds - self.start_up_cpu_seconds) / self.events * _MILLION

    @property
    def cpu_per_million_all_in(self) -> float:
        """CPU seconds per million events, all in."""
        return self.usage.cpu_seconds / self.events * _MILLION


#: Each figure's name, unit, values, and whether less is better.
_MEASURES: Final[Sequence[tuple[str, str, Callable[[Sequence[Run]], list[float]], bool]]] = (
    ("events_per_second", "1/s", lambda runs: [run.pace.events_per_second for run in runs], False),
    ("cpu_per_million_events", "s", lambda runs: [run.cpu_per_million for run in runs], True),
    (
        "cpu_per_million_events_all_in",
        "s",
        lambda runs: [run.cpu_per_million_all_in for run in runs],
        True,
    ),
    ("start_up_cpu", "s", lambda runs: [run.start_up_cpu_seconds for run in runs], True),
    ("peak_memory", "MiB", lambda runs: [run.usage.peak_memory_mib for run in runs], True),
)


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure pairs of runs, and return the figures of both workers.

    Raises:
        WorkerFailedError: a worker failed, or numbered an event wrong.
    """
    ours: list[Run] = []
    stock: list[Run] = []
    for number in range(1, bench.runs + 1):
        bench.say(f"process: run {number} of {bench.runs}")
        empty = bench.settings(f"bench-{number}-empty.")
        await create_topics(empty)
        settings = bench.settings(f"bench-{number}.")
        await create_topics(settings)
        load = await load_events(settings, bench.events)
        bench.say(f"  {load.events:,} events of {load.mean_value_bytes:.0f} bytes in {len(load.event_ids):,} sessions")
        ours.append(await _run(bench, _process_stage, empty, settings, load))
        stock.append(await _run(bench, _stock_faust, empty, settings, load))
    return _figures(ours, stock)


async def _run(
    bench: Bench,
    candidate: Callable[[Settings], Awaitable[Candidate]],
    empty: Settings,
    settings: Settings,
    load: Load,
) -> Run:
    start_up = await _start_up(await candidate(empty), empty)
    made = await candidate(settings)
    async with new_reader(settings, "bench-watch") as reader:
        with made.worker as worker:
            pace = await wait_for_outputs(reader, worker, made.output_topic, settings.partitions, load.events)
            await wait_until_quiet(reader, worker, [made.changelog_topic], settings.partitions)
            usage = worker.stop()
        await check_outputs(reader, worker.name, made.output_topic, settings.partitions, load)
    run = Run(load.events, usage, start_up.cpu_seconds, pace)
    bench.say(
        f"  {worker.name}: {pace.events_per_second:,.0f} events/s, CPU {usage.cpu_seconds:.2f} s, of which start-up "
        f"{start_up.cpu_seconds:.2f} s: {run.cpu_per_million:.1f} s a million events; every number is right"
    )
    return run


async def _start_up(made: Candidate, settings: Settings) -> Usage:
    """Return what a worker uses that starts, finds nothing to do, and is stopped."""
    with made.worker as worker:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not await made.is_ready():
            worker.check_alive()
            if time.monotonic() > deadline:
                raise WorkerFailedError(f"{worker.name} was not ready in time\n{worker.last_words()}")
            await asyncio.sleep(POLL_SECONDS)
        async with new_reader(settings, "bench-watch") as reader:
            await wait_until_quiet(reader, worker, [made.changelog_topic], settings.partitions)
        return worker.stop()


async def _process_stage(settings: Settings) -> Candidate:
    """Return the process stage as it is deployed."""
    worker = Processor(settings)

    async def is_ready() -> bool:
        return await worker.leases() == settings.partitions

    prefix = settings.topic_prefix
    return Candidate(worker, SEQUENCED.name(prefix), CHANGELOG.name(prefix), is_ready)


async def _stock_faust(settings: Settings) -> Candidate:
    """Return the stock agent, on the same source topic, with an output topic of its own."""
    app_id = f"{settings.topic_prefix}stock"
    output = f"{app_id}.sequenced"
    changelog = f"{app_id}-sequences-changelog"
    data_dir = settings.data_dir / "stock"
    ready_file = data_dir / "ready"
    environment = {
        "BENCH_APP_ID": app_id,
        "BENCH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "BENCH_PARTITIONS": str(settings.partitions),
        "BENCH_SOURCE_TOPIC": SOURCE.name(settings.topic_prefix),
        "BENCH_OUTPUT_TOPIC": output,
        "BENCH_DATA_DIR": str(data_dir / "faust"),
        "BENCH_READY_FILE": str(ready_file),
    }
    async with connect(settings) as admin:
        await admin.create_topics(
            [
                NewTopic(output, settings.partitions, 1),
                NewTopic(changelog, settings.partitions, 1, topic_configs={"cleanup.policy": "compact"}),
            ]
        )

    async def is_ready() -> bool:
        return await asyncio.to_thread(Path.exists, ready_file)

    arguments = ["-m", "benchmarks.stock_faust", "worker", "--without-web", "-l", "warn"]
    return Candidate(Worker("stock_faust", arguments, environment, data_dir), output, changelog, is_ready)


def _figures(ours: Sequence[Run], stock: Sequence[Run]) -> list[Figure]:
    theirs = [figure(f"stock_faust.{name}", unit, of(stock)) for name, unit, of, _ in _MEASURES]
    against = [
        compared(f"process.{name}", unit, of(ours), other, less_is_better=less_is_better)
        for (name, unit, of, less_is_better), other in zip(_MEASURES, theirs, strict=True)
    ]
    return [*against, *theirs]
