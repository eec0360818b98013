"""The part ``processes``: how much faster ``tracker process --processes 2`` is than one process.

Each run has fresh topics. The workers start on them once, so that each has its partitions, and stop. Then the events
are loaded, and the same workers, which nothing rebalances, number them all. One process and two take turns. Kafka runs
on the same cores: the CPU time that it takes is lost to the workers.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from benchmarks.bench import Bench, Figure, compared, figure
from benchmarks.load import load_events
from benchmarks.processor import Processor
from benchmarks.watch import POLL_SECONDS, check_outputs, wait_for_outputs, wait_until_quiet
from topics.catalog import CHANGELOG, SEQUENCED
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

PROCESSES: Final = 2
#: Longer than loading takes: members that come back within it have the partitions that they had. Faust allows 90 s.
SESSION_TIMEOUT_MS: Final = 85_000


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure one process and two, in turn.

    Raises:
        WorkerFailedError: a worker failed, or numbered an event wrong.
    """
    rates: dict[int, list[float]] = {0: [], PROCESSES: []}
    for number in range(1, bench.runs + 1):
        for processes, of_kind in rates.items():
            settings = bench.settings(f"bench-processes-{number}-{processes}.")
            of_kind.append(await _rate(bench, settings, processes))
    alone = figure("processes.one", "1/s", rates[0])
    return [alone, compared("processes.two", "1/s", rates[PROCESSES], alone)]


async def _rate(bench: Bench, settings: Settings, processes: int) -> float:
    worker = Processor(
        settings,
        TRACKER_PROCESS_PROCESSES=str(processes),
        TRACKER_STANDBY_REPLICAS="0",
        TRACKER_KAFKA_SESSION_TIMEOUT_MS=str(SESSION_TIMEOUT_MS),
    )
    await create_topics(settings)
    with worker:  # its members keep their partitions until they come back
        await worker.wait_until_ready(settings.partitions)
        await _until_shared_out(worker, settings.partitions, processes)
        worker.stop()
    load = await load_events(settings, bench.events)
    output, changelog = SEQUENCED.name(settings.topic_prefix), CHANGELOG.name(settings.topic_prefix)
    async with new_reader(settings, "bench-watch") as reader:
        with worker:
            pace = await wait_for_outputs(reader, worker, output, settings.partitions, load.events)
            await wait_until_quiet(reader, worker, [changelog], settings.partitions)
            usage = worker.stop()
        await check_outputs(reader, worker.name, output, settings.partitions, load)
    bench.say(
        f"processes: {max(1, processes)}: {pace.events_per_second:,.0f} events/s, {usage.cpu_seconds:.1f} CPU s "
        f"in {pace.seconds:.1f} s, start included"
    )
    return pace.events_per_second


async def _until_shared_out(worker: Processor, partitions: int, processes: int) -> None:
    names = [worker.name, *(f"{worker.name}.{number}" for number in range(2, processes + 1))]
    figures = [f'tracker_process_leases{{process="{name}"}}' for name in names] if processes else []
    while [await worker.metric(name) for name in figures] != [partitions / processes for _ in figures]:
        worker.check_alive()
        await asyncio.sleep(POLL_SECONDS)
