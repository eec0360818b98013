"""The part ``hot_key``: one session with half of all traffic, and what the other partitions feel of it.

The same steady load of many sessions twice, once with as many events again of one single session. Latency is from the
broker's stamp on the source record to the stamp of the numbered event, both of this machine's clock.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from aiokafka import ConsumerRecord, TopicPartition

from benchmarks.bench import Bench, Figure, compared, figure
from benchmarks.load import send_steadily
from benchmarks.processor import Processor
from topics.catalog import SEQUENCED, SOURCE
from topics.headers import read_position
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_reader, partition_for_key
from tracker.settings import Settings

SESSIONS: Final = 2_000
EVENTS_PER_SECOND: Final = 1_500
MEASURED_SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 3.0
READ_TIMEOUT_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """How the partitions without the hot session fared."""

    events_per_second: float
    median_ms: float
    p99_ms: float


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure pairs of runs, without and with the hot session."""
    even: list[Run] = []
    hot: list[Run] = []
    for number in range(1, bench.runs + 1):
        even.append(await _run(bench.settings(f"bench-even-{number}."), is_hot=False))
        hot.append(await _run(bench.settings(f"bench-hot-{number}."), is_hot=True))
        bench.say(f"hot_key: run {number} of {bench.runs}: others without it {even[-1]}, with it {hot[-1]}")
    figures = []
    for name, unit in (("events_per_second", "1/s"), ("median_ms", "ms"), ("p99_ms", "ms")):
        without = figure(f"hot_key.others_without.{name}", unit, [getattr(run, name) for run in even])
        values = [getattr(run, name) for run in hot]
        figures.append(compared(f"hot_key.others_with.{name}", unit, values, without, less_is_better=unit == "ms"))
        figures.append(without)
    return figures


async def _run(settings: Settings, *, is_hot: bool) -> Run:
    await create_topics(settings)
    sessions = [clock.new_id() for _ in range(SESSIONS)]
    hot = clock.new_id()
    hot_partition = partition_for_key(hot.encode(), settings.partitions)
    with Processor(settings) as worker:
        await worker.wait_until_ready(settings.partitions)
        loads = [asyncio.create_task(send_steadily(settings, sessions, EVENTS_PER_SECOND))]
        if is_hot:
            loads.append(asyncio.create_task(send_steadily(settings, [hot], EVENTS_PER_SECOND)))
        await asyncio.sleep(MEASURED_SECONDS)
        for load in loads:
            load.cancel()
        for load in loads:
            with contextlib.suppress(asyncio.CancelledError):
                await load
        await asyncio.sleep(SETTLE_SECONDS)
        worker.stop()
    others = [number for number in range(settings.partitions) if number != hot_partition]
    return await _latencies(settings, others)


async def _latencies(settings: Settings, partitions: Sequence[int]) -> Run:
    """Read both topics back; the first seconds, in which the worker warms up, do not count."""
    source, sequenced = (topic.name(settings.topic_prefix) for topic in (SOURCE, SEQUENCED))
    found: dict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)
    async with new_reader(settings, "bench-watch") as reader:
        reader.assign([TopicPartition(topic, number) for topic in (source, sequenced) for number in partitions])
        while batches := await reader.getmany(timeout_ms=READ_TIMEOUT_MS):
            for tp, records in batches.items():
                found[tp] += records
    latencies: list[int] = []
    stamps: list[int] = []
    for number in partitions:
        accepted = {record.offset: record.timestamp for record in found[TopicPartition(source, number)]}
        began = min(accepted.values()) + int(SETTLE_SECONDS * 1_000)
        for record in found[TopicPartition(sequenced, number)]:
            position = read_position(record.headers)
            if position is not None and accepted[position.offset] >= began:
                latencies.append(record.timestamp - accepted[position.offset])
                stamps.append(record.timestamp)
    percentiles = quantiles(latencies, n=100)
    return Run(len(stamps) / ((max(stamps) - min(stamps)) / 1_000), percentiles[49], percentiles[98])
