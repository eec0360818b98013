"""The spills of a process together: its own and those that others have left, and what is told of them."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

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
    emptied = spills.oldest
    await emptied.delete(await emptied.page())  # type: ignore[arg-type]
    with capture_logs() as logs:
        await spills.remove(emptied)
    assert (logs, emptied._executor._shutdown) == ([], True), "closed before its files were removed"
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


# Several processes


async def test_a_spill_that_can_not_be_taken_over_is_said_and_the_others_are_taken_over_all_the_same(
    tmp_path: Path, metrics: SpillMetrics
):
    spills = Spills(SpillDirectories(tmp_path), MAX_BYTES, metrics)
    await spills.open(SupervisedTasks())
    others = [SpillDirectories(tmp_path) for _ in range(3)]
    paths = [other.claim() for other in others]
    for path in paths:
        store = SpillStore(path)
        store.append([SpilledRecord("topic", 1, b"key", b"value")])
        store.close()
    held = SpillStore(paths[0])  # without the lock of its directory
    for other in others:
        other.release()
    with capture_logs() as logs:
        assert await spills.adopt() == paths[2].name
    assert [log["path"] for log in logs if log["log_level"] == "error"] == [str(paths[0])]
    assert (spills.records, spills.oldest.path) == (2, paths[1])
    assert await spills.adopt() is None
    held.close()
    await spills.close()


async def test_records_that_nobody_has_sent_are_there_for_the_next_process_once_this_one_has_closed(
    tmp_path: Path, metrics: SpillMetrics
):
    spills = Spills(SpillDirectories(tmp_path), MAX_BYTES, metrics)
    await spills.open(SupervisedTasks())
    assert metrics.max_bytes._value.get() == MAX_BYTES
    await spills.own.append([RECORD]).written
    path = spills.own.path
    other = SpillDirectories(tmp_path)
    assert other.claim_orphans() == []
    with capture_logs() as logs:
        await spills.close()
    assert [(log["log_level"], log["records"]) for log in logs] == [("warning", 1)]
    assert other.claim_orphans() == [path]
    other.release()


def test_a_process_has_the_first_directory_that_is_free(tmp_path: Path):
    directories = [SpillDirectories(tmp_path / "data" / "collect") for _ in range(3)]
    assert [each.claim().name for each in directories] == ["spill-0", "spill-1", "spill-2"]
    directories[1].release()
    assert SpillDirectories(tmp_path / "data" / "collect").claim().name == "spill-1"


def test_only_spills_are_taken_over_in_the_order_of_their_names(tmp_path: Path):
    for name in ("spill-3", "spill-1", "spill-2.damaged-1760000000000", "other-4"):
        (tmp_path / name).mkdir()
    (tmp_path / "spill-5.lock").touch()
    assert [path.name for path in SpillDirectories(tmp_path).claim_orphans()] == ["spill-1", "spill-3"]


def test_a_directory_that_was_removed_is_free_for_others(tmp_path: Path):
    mine, other = SpillDirectories(tmp_path), SpillDirectories(tmp_path)
    path = mine.claim()
    path.mkdir()
    mine.remove(path)
    assert not path.exists()
    assert other.claim() == path
    mine.release()
    assert SpillDirectories(tmp_path).claim() != path


def test_it_is_noted_which_kafka_was_reached_last(tmp_path: Path):
    directories = SpillDirectories(tmp_path)
    directories.claim()
    directories.note_kafka("one:9092")
    assert directories.knows_kafka("one:9092")
    directories.note_kafka("other:9092")
    assert (directories.knows_kafka("one:9092"), directories.knows_kafka("other:9092")) == (False, True)


def test_a_directory_that_is_being_removed_belongs_to_this_process_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mine, other = SpillDirectories(tmp_path), SpillDirectories(tmp_path)
    path = mine.claim()
    path.mkdir()
    taken: list[Path] = []
    rmtree = shutil.rmtree

    def slow_rmtree(*args: Any, **options: Any) -> None:
        taken.extend(other.claim_orphans())
        rmtree(*args, **options)

    monkeypatch.setattr(shutil, "rmtree", slow_rmtree)
    mine.remove(path)
    assert (taken, path.exists()) == ([], False)


def test_a_directory_that_is_gone_already_is_given_up_all_the_same(tmp_path: Path):
    mine = SpillDirectories(tmp_path)
    path = mine.claim()
    mine.remove(path)
    assert SpillDirectories(tmp_path).claim() == path


@pytest.mark.parametrize(
    ("ages_ms", "age_seconds"), [((9_000, 5_000), 9.0), ((1,), 0.001), ((-60_000,), 0.0), ((), 0.0)]
)
async def test_the_age_is_that_of_the_oldest_record_of_all_and_never_negative(
    tmp_path: Path,
    metrics: SpillMetrics,
    disk: RefusingDisk,  # noqa: F811
    ages_ms: tuple[int, ...],
    age_seconds: float,
):
    others = [SpillDirectories(tmp_path) for _ in ages_ms]
    for other, age_ms in zip(others, ages_ms, strict=True):
        store = SpillStore(other.claim())
        store.append([SpilledRecord("topic", disk.now_ms - age_ms, b"key", b"value")])
        store.close()
    mine = SpillDirectories(tmp_path)
    mine.claim()  # so that the others' are no spill of its own
    for directories in (*others, mine):
        directories.release()
    for other in others:
        other.claim_orphans()
    spills = Spills(SpillDirectories(tmp_path), MAX_BYTES, metrics)
    for other in others:
        other.release()
    await spills.open(SupervisedTasks())
    assert spills.oldest_age_seconds == age_seconds
    await spills.close()
