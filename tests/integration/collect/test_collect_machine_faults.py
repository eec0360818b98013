"""The machine runs short of descriptors, processes or disk: all background tasks of the collector go on after it."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import psutil

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tests.patience import PATIENCE_SECONDS
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
OLD_KEY = "the-write-key-of-before"
NEW_KEY = "the-write-key-of-after"
FAILED = "a background task failed; it is started again"


@contextmanager
def no_free_descriptor(pid: int) -> Iterator[None]:
    """Let a process open nothing more; what is open stays so."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    lowest_free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


async def until(condition, what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(what) from None


async def until_logged(collector: CollectorProcess, words: str, times: int = 1) -> None:
    await until(lambda: collector.log_file.read_text().count(words) >= times, f"never logged {times} times: {words}")


async def status(collector: CollectorProcess, key: str = "") -> int:
    headers = {"X-Write-Key": key} if key else {}
    async with collector.http.post(TRACK, json={"event_type": "click"}, headers=headers) as answer:
        return answer.status


def with_changes(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(include=settings.model_fields_set), **changes})


def keys(key: str) -> bytes:
    return orjson.dumps({"write_keys": [{"name": "shop", "key": key, "workspace_id": "w1"}]})


async def test_too_many_open_files_end_no_watch(collect_settings: Settings, tmp_path: Path):
    keys_file = tmp_path / "keys.json"
    keys_file.write_bytes(keys(OLD_KEY))
    settings = with_changes(collect_settings, keys_file=keys_file)
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        assert await status(collector, OLD_KEY) == 202
        with no_free_descriptor(collector.process.pid):
            await until_logged(collector, FAILED, times=3)
            assert await status(collector, OLD_KEY) == 202  # on the connection that is open
            await collector.until_status("/readyz", 503, saying="background tasks fail")
        # Both watches go on: over the keys, and over spills that were left behind.
        keys_file.write_bytes(keys(NEW_KEY))
        left_behind = settings.data_dir / "collect" / "spill-7"
        left_behind.mkdir()
        await until(lambda: not left_behind.exists(), "the spill that was left behind was not taken over")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await status(collector, NEW_KEY) != 202:
                pass  # each look is a request of its own
        failures = await collector.until_figures("tracker_collect_background_task_failures_total")
        assert 'task="spill watch"' in failures


async def test_a_disk_that_is_full_at_the_first_contact_with_kafka_does_not_keep_events_from_it(
    collect_settings: Settings, tmp_path: Path
):
    await create_topics(collect_settings)
    spills = collect_settings.data_dir / "collect"
    spills.mkdir()
    (spills / "kafka-seen").symlink_to("/dev/full")
    async with running_collector(collect_settings, tmp_path / "collect.log") as collector:
        await collector.until_status("/readyz", 200, saying='"records":0')
        for _ in range(2):  # if the drain had ended, they would wait on disk for ever
            assert await status(collector) == 202
        await collector.until_status("/readyz", 200, saying='"records":0')
        assert "tracker_collect_records_acked_total 0.0" not in await collector.until_figures()
        await until_logged(collector, "could not note on disk that Kafka was reached")


async def test_a_parent_that_can_not_start_a_process_tries_until_it_can(collect_settings: Settings, tmp_path: Path):
    settings = with_changes(collect_settings, collect_processes=2)
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        parent = psutil.Process(collector.process.pid)
        first = {child.pid for child in parent.children()}
        assert len(first) == 2
        with no_free_descriptor(parent.pid):
            victim = min(first)
            os.kill(victim, signal.SIGKILL)
            await until_logged(collector, FAILED, times=2)
            collector.process.send_signal(signal.SIGHUP)
            await until_logged(collector, "the restart failed; the old processes go on")
        await until(lambda: len({child.pid for child in parent.children()}) == 2, "it was never replaced")
        await collector.until_status("/readyz", 200)
        assert collector.process.returncode is None
    assert collector.process.returncode == 0
