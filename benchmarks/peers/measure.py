"""The part ``peers``: all engines on the same events, one after the other, several rounds of them in one run.

Each round loads its events into fresh topics before any engine starts, lets each number them all, and reads back what
came out: a session's numbers have to be 1, 2, 3 … in the order of the log, without a gap.

CPU is that of the whole process between two moments, as the kernel counts it: from the first outputs that were seen to
the last, so that a start costs nobody anything; and from half of the outputs on (``warm``), when Java's compiler
has seen the code often enough.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench, Figure, compared, figure
from benchmarks.load import Load, load_events
from benchmarks.peers.engines import PEERS, TRACKER, Engine
from benchmarks.watch import Sample, check_outputs, follow_outputs
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One engine's run: how far it was when, and the most memory that it had."""

    samples: Sequence[Sample]
    peak_memory_mib: float

    @property
    def events_per_second(self) -> float:
        """From the first outputs that were seen to the last."""
        first, last = self.samples[0], self.samples[-1]
        return (last.events - first.events) / (last.at_seconds - first.at_seconds)

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million events, from the first outputs that were seen to the last."""
        return _cpu_per_million(self.samples[0], self.samples[-1])

    @property
    def warm_cpu_per_million(self) -> float:
        """The same, of the second half."""
        last = self.samples[-1]
        half = next(sample for sample in self.samples if sample.events >= last.events / 2)
        return _cpu_per_million(half, last)


def _cpu_per_million(first: Sample, last: Sample) -> float:
    return (last.cpu_seconds - first.cpu_seconds) / (last.events - first.events) * _MILLION


#: Each figure: its name, its unit, and whether less is better.
_MEASURES: Final = (
    ("events_per_second", "1/s", False),
    ("cpu_per_million", "s", True),
    ("warm_cpu_per_million", "s", True),
    ("peak_memory_mib", "MiB", True),
)


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure rounds of all engines, and return the figures of each: ours against every other's.

    Raises:
        ConfigurationError: an engine can't be fetched.
        WorkerFailedError: an engine failed, or numbered an event wrong.
    """
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(1, bench.runs + 1):
        bench.say(f"peers: round {number} of {bench.runs}")
        loaded: dict[float, tuple[Settings, Load]] = {}
        for engine in (TRACKER, *PEERS):
            if engine.share not in loaded:
                loaded[engine.share] = await _loaded(bench, number, engine.share)
            settings, load = loaded[engine.share]
            runs[engine.name].append(await _run(bench, engine, settings, load))
    return [each for peer in PEERS for each in _figures(runs[TRACKER.name], runs[peer.name], peer)]


async def _loaded(bench: Bench, number: int, share: float) -> tuple[Settings, Load]:
    settings = bench.settings(f"peers-{number}-{share:g}.")
    await create_topics(settings)
    return settings, await load_events(settings, int(bench.events * share))


async def _run(bench: Bench, engine: Engine, settings: Settings, load: Load) -> Run:
    running = await engine.prepare(settings)
    async with new_reader(settings, "bench-watch") as reader:
        with running.worker as worker:
            topic, partitions = running.output_topic, settings.partitions
            samples = await follow_outputs(
                reader, worker, topic, partitions, load.events, has_markers=engine.has_markers
            )
            memory_mib = worker.peak_memory_mib()
            await check_outputs(reader, engine.name, topic, partitions, load)
            worker.stop()
    run = Run(samples, memory_mib)
    bench.say(
        f"  {engine.name}: {run.events_per_second:,.0f} events/s, CPU {run.cpu_per_million:.1f} s a million events, "
        f"{run.warm_cpu_per_million:.1f} s warm, {memory_mib:.0f} MiB; every number is right"
    )
    return run


def _figures(ours: Sequence[Run], theirs: Sequence[Run], peer: Engine) -> list[Figure]:
    found = []
    for name, unit, less_is_better in _MEASURES:
        of_peer = figure(f"{peer.name}.{name}", unit, [getattr(run, name) for run in theirs])
        of_us = [getattr(run, name) for run in ours]
        found += [compared(f"tracker.{name}", unit, of_us, of_peer, less_is_better=less_is_better), of_peer]
    return found
