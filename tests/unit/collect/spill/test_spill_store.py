"""The spill on disk: every write is synced, numbers are used once, and what was sent does not come back."""

import os
from pathlib import Path

import pytest

from tests.unit.collect.spill.refusing_disk import RefusingDisk, disk  # noqa: F401 - a fixture
from tracker.collect.spill.store import READ_KEYS, REOPEN_INTERVAL_MS, SpilledRecord, SpillStore
from tracker.errors import ConfigurationError


def record(number: int, size: int = 10) -> SpilledRecord:
    return SpilledRecord("topic", 7, b"%d" % number, b"v" * size)


def records(*numbers: int) -> list[SpilledRecord]:
    return [record(number) for number in numbers]


def size_of(*numbers: int) -> int:
    return sum(record(number).size_bytes for number in numbers)


def delete(store: SpillStore, begin: int, end: int) -> None:
    store.delete(begin, end, records=end - begin, size_bytes=size_of(*range(begin, end)))


def held(store: SpillStore) -> list[int]:
    return [int(found.key) for _, found in store.read(store.head)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spill-0"


@pytest.fixture
def store(path: Path, disk: RefusingDisk):  # noqa: F811
    store = SpillStore(path)
    yield store
    store.close()


def restarted(store: SpillStore) -> SpillStore:
    """The next process: what it holds and counts."""
    store.close()
    store.__init__(store.path)
    return store


def test_every_write_is_on_disk_when_it_returns(store, disk):  # noqa: F811
    store.append(records(0, 1))
    delete(store, 0, 1)
    assert disk.synced == [True, True]


def test_records_are_numbered_and_counted_in_order(store):
    assert (store.append(records(0, 1, 2)), store.append(records(3))) == (0, 3)
    assert (store.head, store.tail, store.records, store.size_bytes) == (0, 4, 4, size_of(0, 1, 2, 3))
    assert list(store.read(0)) == list(enumerate(records(0, 1, 2, 3)))
    assert [number for number, _ in store.read(2)] == [2, 3]


def test_a_records_size_is_that_of_its_parts(store):
    assert SpilledRecord("topic", 7, b"key", b"value").size_bytes == 8 + 5 + 3 + 5


def test_more_than_one_read_of_the_database_gives_everything_in_order(store):
    numbers = list(range(READ_KEYS + 3))
    store.append(records(*numbers))
    assert held(store) == numbers


def test_the_next_process_finds_all_and_goes_on_numbering(store):
    store.append(records(0, 1, 2))
    delete(store, 0, 1)
    again = restarted(store)
    assert (held(again), again.head, again.tail, again.records) == ([1, 2], 1, 3, 2)
    assert again.size_bytes == size_of(1, 2)
    assert again.append(records(3)) == 3


def test_a_spill_that_was_emptied_numbers_on_in_the_next_process(store):
    store.append(records(0, 1, 2))
    delete(store, 0, 3)
    assert (store.records, store.size_bytes, held(store)) == (0, 0, [])
    again = restarted(store)
    assert (again.records, again.size_bytes, held(again)) == (0, 0, [])
    number = again.append(records(3))
    assert (again.head, again.tail, held(again)) == (number, number + 1, [3])


def test_records_in_the_middle_are_deleted_and_those_before_stay(store):
    store.append(records(0, 1, 2, 3))
    delete(store, 1, 3)
    assert (held(store), store.head, store.records) == ([0, 3], 0, 2)
    again = restarted(store)
    assert (held(again), again.records, again.size_bytes) == ([0, 3], 2, size_of(0, 3))
    delete(again, 0, 1)
    assert held(again) == [3]


def test_deleted_disk_space_is_given_back_and_what_is_left_stays(store):
    store.append([SpilledRecord("topic", 7, b"%d" % n, os.urandom(10_000)) for n in range(50)])
    again = restarted(store)  # they are in a table now
    before = tables_bytes(again)
    again.delete(0, 49, records=49, size_bytes=49 * 10_000)
    assert tables_bytes(again) == before
    again.reclaim()
    assert tables_bytes(again) < before / 10
    assert held(again) == [49]


def tables_bytes(store: SpillStore) -> int:
    return sum(file["size"] for file in store._db.live_files())


# The disk refuses


def test_a_refused_write_is_told_and_not_counted(store, disk):  # noqa: F811
    store.append(records(0))
    disk.refuses = True
    with pytest.raises(OSError, match="No space left"):
        store.append(records(1, 2))
    assert disk.refused_writes == 1
    assert (store.tail, store.records, store.size_bytes) == (1, 1, size_of(0))
    assert store.refused_ms == disk.now_ms


def test_for_a_second_after_a_refusal_nothing_is_tried(store, disk):  # noqa: F811
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        store.append(records(0))
    disk.refuses = False
    disk.now_ms += REOPEN_INTERVAL_MS - 1
    with pytest.raises(OSError, match="less than a second ago"):
        store.append(records(0))
    assert (disk.openings, disk.synced) == (1, [])
    disk.now_ms += 1
    assert store.append(records(0)) == 0
    assert (disk.openings, store.refused_ms, held(store)) == (2, None, [0])


def test_a_disk_that_is_too_full_to_open_anything_is_a_refusal_too(store, disk):  # noqa: F811
    store.append(records(0))
    disk.refuses = disk.refuses_opening = True
    with pytest.raises(OSError, match="No space"):
        store.append(records(1))
    disk.now_ms += REOPEN_INTERVAL_MS
    with pytest.raises(OSError, match="TRACKER_DATA_DIR"):
        store.append(records(1))
    assert disk.refused_openings == 1
    assert store.refused_ms == disk.now_ms
    disk.refuses = disk.refuses_opening = False
    disk.now_ms += REOPEN_INTERVAL_MS
    assert store.append(records(1)) == 1
    assert held(store) == [0, 1]


def test_what_could_not_be_deleted_is_left_out_and_goes_with_the_next_deletion(store, disk):  # noqa: F811
    """Sent records that the disk still has must not be sent again, neither now nor by the next process."""
    store.append(records(0, 1, 2, 3))
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        delete(store, 0, 2)
    assert disk.refused_writes == 1
    assert (held(store), store.records, store.size_bytes, store.head) == ([2, 3], 2, size_of(2, 3), 2)
    disk.refuses = False
    disk.now_ms += REOPEN_INTERVAL_MS
    store.append(records(4))  # opens the database again
    assert (held(store), store.records, store.head) == ([2, 3, 4], 3, 2)
    delete(store, 2, 3)
    again = restarted(store)
    assert (held(again), again.records, again.size_bytes) == ([3, 4], 2, size_of(3, 4))


def test_a_deletion_that_is_refused_again_and_again_goes_with_the_first_that_is_not(store, disk):  # noqa: F811
    store.append(records(*range(6)))
    disk.refuses = True
    for begin in (0, 1, 2):
        with pytest.raises(OSError, match="No space"):
            delete(store, begin, begin + 1)
        disk.now_ms += REOPEN_INTERVAL_MS
    assert disk.refused_writes == 3
    assert held(store) == [3, 4, 5]
    disk.refuses = False
    delete(store, 3, 4)
    again = restarted(store)
    assert held(again) == [4, 5]


def test_without_another_deletion_the_next_process_finds_them_again(store, disk):  # noqa: F811
    """They are dropped by their event ids then: twice is better than lost."""
    store.append(records(0, 1))
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        delete(store, 0, 1)
    again = restarted(store)
    assert held(again) == [0, 1]


def test_a_refused_deletion_in_the_middle_leaves_what_is_before_it_alone(store, disk):  # noqa: F811
    store.append(records(0, 1, 2))
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        delete(store, 1, 2)
    assert (held(store)[0], store.head) == (0, 0)


def test_a_number_is_not_used_again_when_the_database_was_opened_again(store, disk):  # noqa: F811
    """A ticket of the spill may still delete by it."""
    store.append(records(0, 1))
    delete(store, 0, 2)
    store.reclaim()
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        store.append(records(2))
    disk.refuses = False
    disk.now_ms += REOPEN_INTERVAL_MS
    number = store.append(records(2))
    assert number >= 2
    assert (store.head, held(store)) == (number, [2])


def test_a_deletion_mends_the_database_too(store, disk):  # noqa: F811
    store.append(records(0, 1))
    disk.refuses = True
    with pytest.raises(OSError, match="No space"):
        store.append(records(2))
    disk.refuses = False
    disk.now_ms += REOPEN_INTERVAL_MS
    delete(store, 0, 1)
    assert (disk.openings, store.refused_ms, held(store)) == (2, None, [1])


# Opening


def test_a_spill_that_another_process_uses_is_refused_by_its_setting(store):
    with pytest.raises(ConfigurationError, match="another collector uses"):
        SpillStore(store.path)


@pytest.mark.parametrize(
    "refusal", ["Permission denied", "Read-only file system", "No space left on device", "Not a directory"]
)
def test_a_directory_that_can_not_be_written_to_is_refused_by_its_setting(path, disk, refusal):  # noqa: F811
    disk.refuses_opening, disk.refusal = True, f"IO error: {refusal}: while it was opened"
    with pytest.raises(ConfigurationError, match="TRACKER_DATA_DIR has to be writable"):
        SpillStore(path)
    assert disk.refused_openings == 1


def test_a_file_in_the_way_is_told_by_the_setting(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="TRACKER_DATA_DIR"):
        SpillStore(path.with_name("file") / "spill-0")


def test_files_that_stay_damaged_after_their_repair_are_kept_aside(store, disk):  # noqa: F811
    store.append(records(1, 2))
    store.close()
    disk.damaged_openings = 3  # as it is, without the damaged records, and after the repair
    empty = SpillStore(store.path)
    assert (disk.damaged_openings, empty.records, held(empty)) == (0, 0, [])
    empty.append(records(3))
    assert held(empty) == [3]
    (aside,) = store.path.parent.glob(f"{store.path.name}.damaged-*")
    assert aside.name == f"{store.path.name}.damaged-{disk.now_ms}"
    kept = SpillStore(aside)
    assert kept.records == 2
    kept.close()
    empty.close()
