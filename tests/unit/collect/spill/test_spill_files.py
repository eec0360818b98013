"""Spill files that are damaged, on a full disk, in use, or left behind: nothing that can be read is lost."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill import store as spill_store
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.queue import Spill, SpillRefused
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.errors import ConfigurationError
from tracker.processes.supervised_tasks import SupervisedTasks


def record(number: int) -> SpilledRecord:
    return SpilledRecord("topic", 1, b"%d" % number, bytes([number % 256]) * 400)


def filled(path: Path, records: int) -> SpillStore:
    store = SpillStore(path)
    for low in range(0, records, 100):
        store.append([record(number) for number in range(low, min(low + 100, records))])
    return store


def numbers(store: SpillStore) -> list[int]:
    return [int(found.key) for _, found in store.read(store.head)]


def overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 64)


def image_of(store: SpillStore, path: Path) -> Path:
    """The files as a killed process leaves them: with a log that nobody has closed."""
    path.mkdir()
    for file in store.path.iterdir():
        if file.name != "LOCK":
            (path / file.name).write_bytes(file.read_bytes())
    store.close()
    return path


def test_a_damaged_log_costs_what_is_damaged_and_is_said(tmp_path, capsys):
    path = image_of(filled(tmp_path / "a", 1_000), tmp_path / "b")
    (log,) = path.glob("*.log")
    overwrite(log, log.stat().st_size // 2)
    store = SpillStore(path)
    found = numbers(store)
    # Damage costs the 32 KiB block that it is in: that is less than two writes of 100 records here.
    assert 800 <= len(found) < 1_000
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 999)
    assert "the spill is damaged" in capsys.readouterr().out
    assert store.append([record(1_000)]) == 1_000
    store.close()


def test_a_damaged_table_costs_what_is_damaged_and_is_said(tmp_path):
    store = filled(tmp_path / "a", 1_000)
    store.close()
    (table,) = (tmp_path / "a").glob("*.sst")
    overwrite(table, table.stat().st_size // 4)
    with capture_logs() as logs:
        store = SpillStore(tmp_path / "a")
    found = numbers(store)
    assert 900 <= len(found) < 1_000
    assert (found[0], found[-1]) == (0, 999)
    assert [(log["event"], log["records"]) for log in logs] == [
        ("records of the spill can't be read", 1_000 - len(found))
    ]
    assert store.records == len(found)
    store.close()


def test_a_write_that_was_torn_at_the_end_is_no_damage(tmp_path, capsys):
    path = image_of(filled(tmp_path / "a", 300), tmp_path / "b")
    (log,) = path.glob("*.log")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 10)
    store = SpillStore(path)
    assert numbers(store) == list(range(200))
    assert "damaged" not in capsys.readouterr().out
    store.close()


def test_files_that_are_all_nonsense_are_said_to_be_damaged_and_the_spill_goes_on(tmp_path, capsys):
    filled(tmp_path / "spill-0", 300).close()
    for file in (tmp_path / "spill-0").iterdir():
        file.write_bytes(b"nonsense" * 100)
    store = SpillStore(tmp_path / "spill-0")
    store.append([record(1)])
    assert numbers(store) == [1]
    store.close()
    assert "the spill is damaged; rebuilding its index" in capsys.readouterr().out


async def fill(spill: Spill) -> list[int]:
    """Write until the disk refuses; return what was accepted."""
    for number in range(10_000):
        try:
            await spill.append([("topic", b"%d" % number, b"v" * 400)]).written
        except SpillRefused:
            return list(range(number))
    raise AssertionError("the disk never refused")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files may not grow: the kernel refuses writes as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


async def test_a_full_disk_is_a_refusal_and_no_lie_and_passes(tmp_path, full_disk, monkeypatch):
    monkeypatch.setattr(spill_store, "REOPEN_INTERVAL_MS", 0)
    spill = await Spill.open(tmp_path / "spill-0", 10_000_000, CollectMetrics().spill, SupervisedTasks())
    accepted = await fill(spill)
    assert spill.is_refusing
    assert accepted

    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    await spill.append([("topic", b"later", b"v")]).written
    assert not spill.is_refusing
    page = await spill.page()
    assert page is not None
    keys = [found.key for found in page.records]
    # What was refused may turn up; what was accepted must, in order.
    assert keys[: len(accepted)] == [b"%d" % number for number in accepted]
    assert keys[-1] == b"later"
    assert len(keys) <= len(accepted) + 2
    await spill.close()


async def test_a_full_disk_does_not_hold_up_the_drain_or_bring_back_what_was_sent(tmp_path, full_disk, monkeypatch):
    monkeypatch.setattr(spill_store, "REOPEN_INTERVAL_MS", 0)
    spill = await Spill.open(tmp_path / "spill-0", 10_000_000, CollectMetrics().spill, SupervisedTasks())
    await fill(spill)
    page = await spill.page()
    assert page is not None
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # not even a deletion fits
    refusals = 0
    for sent in (page.first(1), Pages.rest(page, 1)):
        try:
            await spill.delete(sent)
        except OSError:
            refusals += 1
    assert refusals == 2
    # What was refused when the disk filled up may have got there all the same, and is new then.
    assert {found.key for found in await left_in(spill)}.isdisjoint(found.key for found in page.records)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await spill.append([("topic", b"later", b"v")]).written
    left = await left_in(spill)
    assert [found.key for found in left][-1] == b"later"
    assert {found.key for found in left}.isdisjoint(found.key for found in page.records)
    await spill.close()


async def left_in(spill: Spill) -> list[SpilledRecord]:
    page = await spill.page()
    return [] if page is None else list(page.records)


class Pages:
    @staticmethod
    def rest(page, count):
        return page._replace(begin=page.numbers[count], numbers=page.numbers[count:], records=page.records[count:])


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="TRACKER_DATA_DIR"):
        SpillDirectories(tmp_path / "file" / "collect").claim()


def test_each_process_has_a_directory_and_takes_over_what_others_have_left(tmp_path):
    first, second = SpillDirectories(tmp_path), SpillDirectories(tmp_path)
    mine, theirs = first.claim(), second.claim()
    assert mine != theirs
    filled(mine, 1).close()
    filled(theirs, 1).close()
    assert first.claim_orphans() == []
    second.release()  # as the kernel does when a process ends
    assert first.claim_orphans() == [theirs]
    assert first.claim_orphans() == []
    first.remove(theirs)
    assert not theirs.exists()
    assert mine.exists()
    first.release()


def test_kafka_is_known_only_where_it_was_reached(tmp_path):
    directories = SpillDirectories(tmp_path)
    directories.claim()
    assert not directories.knows_kafka("kafka:9092")
    directories.note_kafka("kafka:9092")
    assert SpillDirectories(tmp_path).knows_kafka("kafka:9092")
    assert not directories.knows_kafka("elsewhere:9092")
    directories.release()
