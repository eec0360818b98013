"""The part ``replay``: how much faster than live a replay is, and whether it finds live's outputs byte-identical.

Two live processors number the first half of the events undisturbed (their pace counts), and the second half while one
of them is killed again and again, its disk lost every second time. Then the whole log is replayed by two processes
on the same two cores: compared twice, and written into topics once. Both paces are wall clock; a replay's has its
start-up in it.
"""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.bench import Bench, Figure, compared, figure
from benchmarks.load import load_events
from benchmarks.measure import PROJECT_DIR, Worker, WorkerFailedError
from benchmarks.watch import POLL_SECONDS, end_of
from topics.catalog import SEQUENCED, SOURCE
from tracker.kafka.admin import committed_offsets, create_topics
from tracker.kafka.clients import new_reader
from tracker.local.ports import free_port
from tracker.settings import Settings

EVENTS_PER_SESSION: Final = 20
LIVE_WORKERS: Final = 2
KILLS: Final = 4
KILL_EVERY_SECONDS: Final = 6.0
SETTLE_TIMEOUT_SECONDS: Final = 900.0


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure one log, live and replayed.

    Raises:
        WorkerFailedError: a worker failed, or a replay was not byte-identical.
    """
    settings = bench.settings("bench-replay.")
    await create_topics(settings)
    half = bench.events // 2
    sessions = max(1, bench.events // EVENTS_PER_SESSION)
    await load_events(settings, half, sessions)
    live = await _live(bench, settings, half, sessions)
    compares = [await _replay(bench, settings, f"compare-{number}", "--compare") for number in (1, 2)]
    written = await _replay(bench, settings, "topics")
    pace = figure("live.events_per_second", "1/s", [live])
    return [
        compared("replay.compare_records_per_second", "1/s", [sum(compares) / len(compares)], pace),
        compared("replay.records_per_second", "1/s", [written], pace),
        pace,
    ]


async def _live(bench: Bench, settings: Settings, half: int, sessions: int) -> float:
    """Number both halves; return the events per second of the first, which nothing disturbed."""
    output = SEQUENCED.name(settings.topic_prefix)
    steady, victim = (_processor(settings, f"worker-{number + 1}") for number in range(LIVE_WORKERS))
    async with new_reader(settings, "bench-watch") as reader:
        with steady, victim:
            pace = await _pace(reader, steady, output, settings.partitions, half)
            bench.say(f"replay: live, {pace:,.0f} events/s; now the other half, with {KILLS} kills")
            loading = asyncio.create_task(load_events(settings, half, sessions))
            for number in range(KILLS):
                await asyncio.sleep(KILL_EVERY_SECONDS)
                victim.kill()
                if number % 2:
                    shutil.rmtree(settings.data_dir / "process" / victim.name, ignore_errors=True)
                victim.__enter__()
            await loading
            await _settled(settings, [steady, victim])
            steady.stop()
            victim.stop()
        outputs = await end_of(reader, [output], settings.partitions)
    bench.say(f"  {outputs:,} outputs of {2 * half:,} events: {outputs - 2 * half:,} were repeated by kills")
    return pace


async def _pace(reader: AIOKafkaConsumer, worker: Worker, topic: str, partitions: int, count: int) -> float:
    """Return the outputs per second from the first ones on; workers that join repeat a few, so there may be more."""
    began, first, seen = 0.0, 0, 0
    while seen < count:
        await asyncio.sleep(POLL_SECONDS)
        worker.check_alive()
        seen = await end_of(reader, [topic], partitions)
        if seen and not first:
            began, first = time.monotonic(), seen
    return (seen - first) / (time.monotonic() - began)


def _processor(settings: Settings, worker_id: str) -> Worker:
    environment = {**_environment(settings), "TRACKER_PROCESS_PORT": str(free_port()), "TRACKER_WORKER_ID": worker_id}
    return Worker(worker_id, ["-m", "tracker", "process"], environment, settings.data_dir)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(settings.partitions),
        "TRACKER_DATA_DIR": str(settings.data_dir),
        "TRACKER_GROUP_COMMIT_INTERVAL_MS": "500",
    }


async def _settled(settings: Settings, workers: Sequence[Worker]) -> None:
    """Wait until the group has committed the whole log."""
    topic = SOURCE.name(settings.topic_prefix)
    tps = [TopicPartition(topic, number) for number in range(settings.partitions)]
    async with new_reader(settings, "bench-watch") as reader, asyncio.timeout(SETTLE_TIMEOUT_SECONDS):
        while True:
            for worker in workers:
                worker.check_alive()
            committed = await committed_offsets(settings, f"{settings.topic_prefix}process")
            if committed == await reader.end_offsets(tps):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _replay(bench: Bench, settings: Settings, name: str, *arguments: str) -> float:
    """Replay the whole log with the command line, and return its records per second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tracker", "replay", "--json", "--processes", "2", "--name", name, *arguments,
        env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), **_environment(settings)},
        cwd=settings.data_dir,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    said: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    if process.returncode or not said or said[-1]["type"] != "summary":
        raise WorkerFailedError(f"replay {name} ended with status {process.returncode}: {said[-1:]}")
    summary = said[-1]
    rate = float(summary["records"] / summary["seconds"])
    verdict = ""
    if summary["comparisons"]:
        identical = sum(each["identical"] for each in summary["comparisons"])
        verdict = f"; {identical:,} outputs byte-identical, {summary['differences']} differ"
    bench.say(f"  replay {name}: {summary['records']:,} records in {summary['seconds']:.1f} s{verdict}")
    return rate
