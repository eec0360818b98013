"""The part ``recovery``: a worker with an empty disk, a changelog of a million open sessions, and what that takes.

Measured from the start of the process to the moment at which it may fold every partition, so Python's own start is in
it. Its memory is read then, and again after one more event of every single session: part ``memory``.
"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.bench import Bench, Figure, at_most, figure
from benchmarks.load import load_one_each
from benchmarks.processor import Processor
from benchmarks.table import write_table
from benchmarks.watch import wait_for_outputs, wait_until_quiet
from topics.catalog import CHANGELOG, SEQUENCED
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader

SESSIONS: Final = 1_000_000
RECOVERY_GOAL_SECONDS: Final = 30.0
MEMORY_GOAL_MIB: Final = 1_500 * 1_000_000 / 1_048_576
_KIB: Final = 1024


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure the recovery of a million sessions, each run on topics and a disk of its own.

    Raises:
        WorkerFailedError: the worker ended, or was not ready in time.
    """
    seconds = []
    for number in range(1, bench.runs + 1):
        settings = bench.settings(f"bench-recovery-{number}.")
        await create_topics(settings)
        await write_table(settings, SESSIONS)
        began = time.monotonic()
        with Processor(settings) as worker:
            await worker.wait_until_ready(settings.partitions)
            seconds.append(time.monotonic() - began)
            worker.stop()
        bench.say(f"recovery: run {number} of {bench.runs}: {SESSIONS:,} sessions in {seconds[-1]:.1f} s")
    return [at_most("recovery.million_sessions", "s", seconds, RECOVERY_GOAL_SECONDS)]


async def measure_memory(bench: Bench) -> Sequence[Figure]:
    """Measure what a worker with a million open sessions holds in memory, recovered and after touching them all.

    Raises:
        WorkerFailedError: the worker ended, stood still, or put out more than it should.
    """
    settings = bench.settings("bench-memory.")
    await create_topics(settings)
    keys = await write_table(settings, SESSIONS)
    async with new_reader(settings, "bench-watch") as reader:
        with Processor(settings) as worker:
            await worker.wait_until_ready(settings.partitions)
            recovered = worker.resident_memory_mib()
            bench.say(f"memory: {recovered:,.0f} MiB after the recovery of {SESSIONS:,} sessions")
            await load_one_each(settings, keys)
            await wait_for_outputs(reader, worker, SEQUENCED.name(settings.topic_prefix), settings.partitions, SESSIONS)
            await wait_until_quiet(reader, worker, [CHANGELOG.name(settings.topic_prefix)], settings.partitions)
            touched, peak = worker.resident_memory_mib(), worker.peak_memory_mib()
            worker.stop()
    bench.say(f"memory: {touched:,.0f} MiB after an event of each; {peak:,.0f} MiB at most")
    return [
        at_most("memory.million_sessions_recovered", "MiB", [recovered], MEMORY_GOAL_MIB),
        at_most("memory.million_sessions_touched", "MiB", [touched], MEMORY_GOAL_MIB),
        at_most("memory.million_sessions_peak", "MiB", [peak], MEMORY_GOAL_MIB),
        figure("memory.bytes_per_open_session", "B", [touched * _KIB * _KIB / SESSIONS]),
    ]
