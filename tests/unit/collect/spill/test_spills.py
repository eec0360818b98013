"""The spills of a process together: its own and those that others have left, and what is told of them."""

import threading
from pathlib import Path

import pytest

from tests.unit.collect.spill.refusing_disk import RefusingDisk, disk  # noqa: F401 - a fixture
from tracker.collect.metrics import CollectMetrics, SpillMetrics
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.queue import Spill
from tracker.collect.spill.spills import Spills
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.processes.supervised_tasks import SupervisedTasks

MAX_BYTES = 1_000_000
RECORD = ("topic", b"key", b"value")
RECORD_BYTES = SpilledRecord("topic", 0, b"key", b"value").size_bytes


@pytest.fixture
def metrics() -> SpillMetrics:
    return CollectMetrics().spill


def leave_behind(root: Path, *, accepted_ms: int, records: int) -> Path:
    """A spill whose process has ended."""
    directories = SpillDirectories(root)
    path = directories.claim()
    store = SpillStore(path)
    if records:
        store.append([SpilledRecord("topic", accepted_ms, b"key", b"value")] * records)
    store.close()
    directories.release()
    return path


def told(metrics: SpillMetrics) -> tuple[float, float, float, float]:
    gauges = (metrics.records, metrics.bytes, metrics.oldest_age_seconds, metrics.draining)
    records, size_bytes, age_seconds, draining = (gauge._value.get() for gauge in gauges)
    return records, size_bytes, age_seconds, draining


async def test_what_a_process_has_left_is_taken_over_at_the_start_and_told(
    tmp_path: Path,
    metrics: SpillMetrics,
    disk: RefusingDisk,  # noqa: F811
):
    mine = SpillDirectories(tmp_path)
    mine.claim()
    left = leave_behind(tmp_path, accepted_ms=disk.now_ms - 9_000, records=3)
    mine.release()
    spills = Spills(SpillDirectories(tmp_path), MAX_BYTES, metrics)
    await spills.open(SupervisedTasks())
    assert (spills.oldest.path, spills.own.path != left, spills.records) == (left, True, 3)
    spills.update_metrics(is_draining=True)
    assert told(metrics) == (3, 3 * RECORD_BYTES, 9, 1)
    spills.update_metrics(is_draining=False)
    assert told(metrics) == (3, 3 * RECORD_BYTES, 9, 0)
    await spills.oldest.delete(await spills.oldest.page())  # type: ignore[arg-type]
    await spills.remove(spills.oldest)
    spills.update_metrics(is_draining=True)
    assert told(metrics) == (0, 0, 0, 0)
    assert not left.exists()
    await spills.close()


async def test_an_empty_spill_that_was_left_goes_at_once(tmp_path: Path, metrics: SpillMetrics):
    mine = SpillDirectories(tmp_path)
    mine.claim()
    left = leave_behind(tmp_path, accepted_ms=0, records=0)
    mine.release()
    spills = Spills(SpillDirectories(tmp_path), MAX_BYTES, metrics)
    await spills.open(SupervisedTasks())
    assert (spills.oldest is spills.own, left.exists()) == (True, False)
    await spills.close()


async def test_records_that_wait_for_the_disk_count_from_the_moment_they_were_taken(
    tmp_path: Path, metrics: SpillMetrics
):
    spill = await Spill.open(tmp_path / "spill-0", MAX_BYTES, metrics, SupervisedTasks())
    may_write = threading.Event()
    held = spill._executor.submit(may_write.wait)  # the thread of the disk is busy
    tickets = [spill.append([RECORD] * count) for count in (1, 2, 3)]
    waiting = spill.records, spill.size_bytes
    may_write.set()
    assert held.result()
    assert waiting == (6, 6 * RECORD_BYTES)
    for ticket in tickets:
        await ticket.written
    assert (spill.records, spill.size_bytes) == (6, 6 * RECORD_BYTES)
    await spill.close()
