"""The part ``process``: the process stage as it is deployed, and what its start costs.

Each run loads its events into fresh topics before the worker starts, lets it number them all, and reads back what came
out. ``benchmarks.peers`` measures it beside other engines.

CPU is the worker's whole life as the kernel counts it, start-up and stop included. What those cost is measured too,
by a worker on empty topics that is stopped once it is ready and has been quiet as long; ``cpu_per_million_events``
is without it, ``cpu_per_million_events_all_in`` is with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Figure, at_most, compared, figure
from benchmarks.load import Load, load_events
from benchmarks.measure import Usage
from benchmarks.processor import Processor
from benchmarks.watch import Pace, check_outputs, wait_for_outputs, wait_until_quiet
from topics.catalog import CHANGELOG, SEQUENCED
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

#: What a worker with nothing to recover may use until it may fold all its partitions.
READY_GOAL_SECONDS: Final = 1.0
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class StartUp:
    """What a worker uses that starts and finds nothing to do: until it is ready, and in its whole life."""

    ready_cpu_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's run: what it used, what of that is start-up and stop, and how fast it was."""

    events: int
    usage: Usage
    start_up: StartUp
    pace: Pace

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million events, without start-up and stop."""
        return (self.usage.cpu_seconds - self.start_up.cpu_seconds) / self.events * _MILLION

    @property
    def cpu_per_million_all_in(self) -> float:
        """CPU seconds per million events, all in."""
        return self.usage.cpu_seconds / self.events * _MILLION


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure runs of the process stage.

    Raises:
        WorkerFailedError: a worker failed, or numbered an event wrong.
    """
    runs: list[Run] = []
    for number in range(1, bench.runs + 1):
        bench.say(f"process: run {number} of {bench.runs}")
        runs.append(await run_stage(bench, f"bench-{number}"))
    return [
        figure("process.events_per_second", "1/s", [run.pace.events_per_second for run in runs]),
        figure("process.cpu_per_million_events", "s", [run.cpu_per_million for run in runs]),
        figure("process.cpu_per_million_events_all_in", "s", [run.cpu_per_million_all_in for run in runs]),
        at_most("process.ready_cpu", "s", [run.start_up.ready_cpu_seconds for run in runs], READY_GOAL_SECONDS),
        figure("process.start_up_cpu", "s", [run.start_up.cpu_seconds for run in runs]),
        figure("process.peak_memory", "MiB", [run.usage.peak_memory_mib for run in runs]),
    ]


async def measure_visitors(bench: Bench) -> Sequence[Figure]:
    """Measure what visitor ids cost the process stage: in turn events that carry none, and events that each carry one.

    Raises:
        WorkerFailedError: a worker failed, or numbered an event wrong.
    """
    without, with_ids = [], []
    for number in range(1, bench.runs + 1):
        bench.say(f"visitors: pair {number} of {bench.runs}")
        without.append((await run_stage(bench, f"bench-visitors-{number}-off")).cpu_per_million)
        with_ids.append((await run_stage(bench, f"bench-visitors-{number}-on", has_visitors=True)).cpu_per_million)
    plain = figure("visitors.off.cpu_per_million_events", "s", without)
    return [plain, compared("visitors.on.cpu_per_million_events", "s", with_ids, plain, less_is_better=True)]


async def run_stage(bench: Bench, name: str, *, has_visitors: bool = False) -> Run:
    """Load events into topics of that name, and let a worker number them.

    Raises:
        WorkerFailedError: it failed, or numbered an event wrong.
    """
    empty, settings = bench.settings(f"{name}-empty."), bench.settings(f"{name}.")
    for each in (empty, settings):
        await create_topics(each)
    load = await load_events(settings, bench.events, has_visitors=has_visitors)
    bench.say(f"  {load.events:,} events of {load.mean_value_bytes:.0f} bytes in {len(load.event_ids):,} sessions")
    return await _run(bench, empty, settings, load)


async def _run(bench: Bench, empty: Settings, settings: Settings, load: Load) -> Run:
    start_up = await _start_up(empty)
    output, changelog = SEQUENCED.name(settings.topic_prefix), CHANGELOG.name(settings.topic_prefix)
    async with new_reader(settings, "bench-watch") as reader:
        with Processor(settings) as worker:
            pace = await wait_for_outputs(reader, worker, output, settings.partitions, load.events)
            await wait_until_quiet(reader, worker, [changelog], settings.partitions)
            usage = worker.stop()
        await check_outputs(reader, worker.name, output, settings.partitions, load)
    run = Run(load.events, usage, start_up, pace)
    bench.say(
        f"  {pace.events_per_second:,.0f} events/s, CPU {usage.cpu_seconds:.2f} s, of which start-up "
        f"{start_up.cpu_seconds:.2f} s (ready after {start_up.ready_cpu_seconds:.2f} s): {run.cpu_per_million:.1f} s a "
        "million events; every number is right"
    )
    return run


async def _start_up(settings: Settings) -> StartUp:
    """Return what a worker uses that starts, finds nothing to do, and is stopped."""
    with Processor(settings) as worker:
        await worker.wait_until_ready(settings.partitions)
        ready_cpu_seconds = worker.cpu_seconds()
        async with new_reader(settings, "bench-watch") as reader:
            await wait_until_quiet(reader, worker, [CHANGELOG.name(settings.topic_prefix)], settings.partitions)
        return StartUp(ready_cpu_seconds, worker.stop().cpu_seconds)
