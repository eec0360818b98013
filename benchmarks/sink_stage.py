"""The part ``sink``: a backlog that an outage lets build up and drain, and the time from a POST to a row.

The backlog goes to a Tinybird that enforces its limits and keeps nothing (``sink_double``). The sink runs on one core,
as deployed. Its memory is watched while Tinybird is away and the backlog builds up, and while it drains. The ceiling is
Tinybird's 20 MB a second, or 40,000 rows a second if that is lower.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from benchmarks import sink_double, sink_latency
from benchmarks.bench import PARTITIONS, Bench, Figure, at_most, figure
from benchmarks.measure import Worker, WorkerFailedError
from topics.catalog import SEQUENCED
from topics.headers import write_position
from tracker.datasources.files import shipped_datasources
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_producer
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

CEILING_ROWS_PER_SECOND: Final = 40_000
#: Whatever the backlog: what is held is bounded (TRACKER_SINK_MAX_HELD_BYTES), and so is what is fetched ahead.
MEMORY_GOAL_MIB: Final = 384
#: Rows that are loaded between two looks at the sink's memory.
SLICE_ROWS: Final = 20_000
POLL_SECONDS: Final = 0.1
READY_TIMEOUT_SECONDS: Final = 60.0
STALL_TIMEOUT_SECONDS: Final = 120.0
PRODUCER_BATCH_MAX_BYTES: Final = 500_000
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What one backlog was like."""

    rows: int
    mean_row_bytes: float
    rows_per_second: float
    cpu_per_million: float
    throttled: int
    #: Resident memory in MiB: when the outage began, its end, the most of the whole run.
    memory_before: float
    memory_after_outage: float
    memory_peak: float

    @property
    def share_of_ceiling(self) -> float:
        """How much of what Tinybird allows was used, in percent."""
        allowed = min(CEILING_ROWS_PER_SECOND, sink_double.BYTES_PER_SECOND / self.mean_row_bytes)
        return self.rows_per_second / allowed * 100


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure backlogs, then latency.

    Raises:
        WorkerFailedError: a worker failed, or rows are missing.
    """
    runs = []
    for number in range(1, bench.runs + 1):
        bench.say(f"sink: backlog {number} of {bench.runs}")
        runs.append(await _backlog(bench, number))
    figures = [
        figure("sink.rows_per_second", "1/s", [run.rows_per_second for run in runs]),
        figure("sink.share_of_ceiling", "%", [run.share_of_ceiling for run in runs]),
        at_most("sink.throttled_requests", "", [run.throttled for run in runs], 0),
        figure("sink.cpu_per_million_rows", "s", [run.cpu_per_million for run in runs]),
        figure("sink.memory_before_outage", "MiB", [run.memory_before for run in runs]),
        figure("sink.memory_after_outage", "MiB", [run.memory_after_outage for run in runs]),
        at_most("sink.memory_peak", "MiB", [run.memory_peak for run in runs], MEMORY_GOAL_MIB),
    ]
    return [*figures, *await sink_latency.measure(bench)]


async def _backlog(bench: Bench, number: int) -> Run:
    settings = bench.settings(f"bench-sink-{number}.").model_copy(
        update={"tinybird_url": f"http://{LOOPBACK}:{free_port()}", "sink_port": free_port()}
    )
    await create_topics(settings)
    double = Worker(
        "sink_double", ["-m", "benchmarks.sink_double", settings.tinybird_url.rpartition(":")[2]], {}, settings.data_dir
    )
    sink = Worker("sink", ["-m", "tracker", "sink"], sink_latency.environment_of(settings), settings.data_dir)
    async with aiohttp.ClientSession() as http:
        with double, sink:
            sink.pin_to_one_core()
            await sink_latency.wait_for(http, f"http://{LOOPBACK}:{settings.sink_port}/readyz", sink)
            await _post(http, settings, "away")
            memory_before = sink.resident_memory_mib()
            mean_bytes = await _load(bench, settings, sink)
            memory_after_outage = sink.resident_memory_mib()
            cpu_before = sink.cpu_seconds()
            await _post(http, settings, "back")
            rows_per_second, counts = await _drain(http, settings, sink, bench.events)
            cpu_seconds = sink.cpu_seconds() - cpu_before
            peak = sink.peak_memory_mib()
            sink.stop()
    run = Run(
        bench.events,
        mean_bytes,
        rows_per_second,
        cpu_seconds / bench.events * _MILLION,
        counts["throttled"],
        memory_before,
        memory_after_outage,
        peak,
    )
    bench.say(
        f"  {run.rows:,} rows of {mean_bytes:.0f} bytes: {rows_per_second:,.0f} rows/s, {run.share_of_ceiling:.0f} % "
        f"of the ceiling, {run.throttled} requests throttled, {run.cpu_per_million:.1f} CPU s a million; memory "
        f"{memory_before:.0f} MiB, after the outage {memory_after_outage:.0f}, at most {peak:.0f}"
    )
    return run


async def _post(http: aiohttp.ClientSession, settings: Settings, what: str) -> None:
    async with http.post(f"{settings.tinybird_url}/{what}") as answer:
        answer.raise_for_status()


async def _load(bench: Bench, settings: Settings, sink: Worker) -> float:
    """Put numbered events into the output topic while Tinybird is away; return their mean size in bytes."""
    topic = SEQUENCED.name(settings.topic_prefix)
    total_bytes = 0
    async with new_producer(settings, "bench-load", max_batch_size=PRODUCER_BATCH_MAX_BYTES) as producer:
        for begin in range(0, bench.events, SLICE_ROWS):
            sink.check_alive()
            rows = list(_rows(begin, min(begin + SLICE_ROWS, bench.events)))
            total_bytes += sum(len(value or b"") + 1 for _, value, _ in rows)
            parts = [rows[partition::PARTITIONS] for partition in range(PARTITIONS)]
            await asyncio.gather(
                *(send_batches(producer, topic, partition, part) for partition, part in enumerate(parts))
            )
    return total_bytes / bench.events


def _rows(begin: int, end: int) -> Iterator[ProducerRecord]:
    """Rows with something in every column that needs a value, and in some that don't."""
    texts = {column.name: "" for column in shipped_datasources()["events_v1"].columns if column.type == "String"}
    row = {
        **texts,
        "timestamp": "2026-11-24T03:43:00.123Z",
        "event_value_type": "",
        "event_type": "click",
        "environment": "production",
        "campaign_environment": "production",
        "clicked_element": "button#buy",
        "scroll_percentage": 17.0,
        "viewport_width": 1280,
        "viewport_height": 720,
        "page_url": "https://shop.example/products/17?utm=1",
        "referrer_url": "https://search.example/",
        "session_id": "019f0000-0000-7000-8000-000000000000",
        "session_event_sequence": 1,
    }
    for column in shipped_datasources()["events_v1"].columns:
        if not column.nullable and column.name not in row:
            row[column.name] = False if column.type == "Bool" else "" if "String" in column.type else 0
    before, after = orjson.dumps({**row, "id": "%ID%"}).split(b"%ID%")
    for number in range(begin, end):
        position = number // PARTITIONS
        headers = write_position(0, position, 0)
        yield b"%d" % (number % 5_000), b"%s%036d%s" % (before, number, after), headers


async def _drain(
    http: aiohttp.ClientSession, settings: Settings, sink: Worker, rows: int
) -> tuple[float, dict[str, Any]]:
    """Wait until all rows have come; return the rate from the first ones that were seen to the last."""
    first: tuple[float, int] | None = None
    seen, since = 0, time.monotonic()
    while True:
        async with http.get(f"{settings.tinybird_url}/counts") as answer:
            counts = await answer.json()
        now = time.monotonic()
        sink.check_alive()
        if counts["rows"] > seen:
            seen, since = counts["rows"], now
            first = first or (now, seen)
        elif now - since > STALL_TIMEOUT_SECONDS:
            raise WorkerFailedError(f"the sink stands still at {seen} of {rows}\n{sink.last_words()}")
        if seen >= rows and first is not None:
            return (seen - first[1]) / (now - first[0] or POLL_SECONDS), counts
        await asyncio.sleep(POLL_SECONDS)
