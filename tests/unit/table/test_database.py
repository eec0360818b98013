"""What RocksDB's errors mean, and what its files are told to be."""

from pathlib import Path
from typing import Any

import pytest
from rocksdict import Cache

from tracker.errors import DiskFullError, StateDamagedError
from tracker.table import database as database_module
from tracker.table.database import DAMAGED_SUFFIX, RocksDatabase

#: As RocksDB says them.
FULL = [
    "IO error: No space left on device: x",
    "IO error: Disk quota exceeded",
    "IO error: File too large",
    "x Already Closed",
]
CORRUPT = "Corruption: block checksum mismatch"


class Failing:
    """Raises whatever it is asked."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any) -> None:
            raise Exception(self._message)  # noqa: TRY002 - as rocksdict does

        return fail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "partition-0"


def failing(path: Path, message: str) -> RocksDatabase:
    database = RocksDatabase(path)
    database.write({b"a": b"1"})
    database.close()
    database._db = Failing(message)
    return database


CALLS = {
    "get": lambda database: database.get(b"a"),
    "get_many": lambda database: database.get_many([b"a"]),
    "items": lambda database: list(database.items()),
    "write": lambda database: database.write({b"a": b"1"}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("message", FULL)
def test_a_full_disk_is_something_to_wait_for(path, call, message):
    database = failing(path, message)
    with pytest.raises(DiskFullError, match=message.split(":")[0]):
        CALLS[call](database)
    assert not path.with_name(path.name + DAMAGED_SUFFIX).exists()


@pytest.mark.parametrize("call", CALLS)
def test_damage_is_noted_for_the_next_opening_which_begins_anew(path, call):
    database = failing(path, CORRUPT)
    with pytest.raises(StateDamagedError, match="partition-0: Corruption"):
        CALLS[call](database)
    again = RocksDatabase(path)
    assert list(again.items()) == []
    again.close()
    once_more = RocksDatabase(path)
    assert not path.with_name(path.name + DAMAGED_SUFFIX).exists()
    once_more.close()


@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_known_is_raised_as_it_is(path, call):
    with pytest.raises(Exception, match="never heard of") as raised:
        CALLS[call](failing(path, "never heard of"))
    assert raised.type is Exception


def test_nothing_is_read_for_no_keys(path):
    assert failing(path, CORRUPT).get_many([]) == []


def test_a_database_that_does_not_close_is_closed_all_the_same(path):
    failing(path, "IO error: No space left on device").close()


class Opening:
    """Opens a database, once it has failed with these messages."""

    def __init__(self, *messages: str) -> None:
        self._rdict = database_module.Rdict
        self.messages = list(messages)

    def __call__(self, *args: Any) -> Any:
        if self.messages:
            raise Exception(self.messages.pop(0))  # noqa: TRY002
        return self._rdict(*args)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("IO error: No space left on device", DiskFullError),
        ("IO error: lock hold by current process", Exception),
    ],
)
def test_a_database_that_is_in_use_or_has_no_room_is_left_as_it_is(path, monkeypatch, message, error):
    RocksDatabase(path).close()
    before = sorted(file.name for file in path.iterdir())
    monkeypatch.setattr(database_module, "Rdict", Opening(message))
    with pytest.raises(error, match="No space left" if error is DiskFullError else "lock"):
        RocksDatabase(path)
    assert {"CURRENT", "LOCK"} <= set(before) <= {file.name for file in path.iterdir()}


@pytest.mark.parametrize("message", [CORRUPT, "Corruption: block lock", "Invalid argument: not a database"])
def test_a_database_that_can_not_be_opened_is_made_anew(path, monkeypatch, message):
    database = RocksDatabase(path)
    database.write({b"a": b"1"})
    database.close()
    opening = Opening(message)
    monkeypatch.setattr(database_module, "Rdict", opening)
    again = RocksDatabase(path)
    assert opening.messages == []
    assert again.get(b"a") is None
    again.write({b"b": b"2"})
    again.close()
    once_more = RocksDatabase(path)
    assert list(once_more.items()) == [(b"b", b"2")]
    once_more.close()


def test_what_was_destroyed_is_gone(path):
    database = RocksDatabase(path)
    database.write({b"a": b"1"})
    database.destroy()
    assert not path.exists()


def test_files_are_there_until_the_database_that_writes_them_is_closed(path):
    closed_with: list[bool] = []

    class Closing:
        def close(self) -> None:
            closed_with.append(path.exists())

    database = RocksDatabase(path)
    database.close()
    database._db = Closing()
    database.destroy()
    assert closed_with == [True]
    assert not path.exists()


def test_damage_is_not_forgotten_before_the_damaged_files_are_gone(path, monkeypatch):
    with pytest.raises(StateDamagedError):
        failing(path, CORRUPT).get(b"a")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(database_module.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        RocksDatabase(path)
    assert path.with_name(path.name + DAMAGED_SUFFIX).exists()


def test_a_note_of_damage_without_a_database_is_no_hindrance(path):
    path.parent.mkdir()
    path.with_name(path.name + DAMAGED_SUFFIX).touch()
    database = RocksDatabase(path)
    assert database.get(b"a") is None
    database.close()


@pytest.mark.parametrize(
    "said",
    [
        f"write_buffer_size={database_module.WRITE_BUFFER_BYTES}",
        "keep_log_file_num=2",
        "filter_policy=bloomfilter",
        "cache_index_and_filter_blocks=true",
        "create_if_missing=true",
    ],
)
@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_rocksdb_is_told_how_much_it_may_use_also_after_a_restart(path, said, restarts):
    for _ in range(restarts):
        RocksDatabase(path).close()
    database = RocksDatabase(path)
    newest = max(path.glob("OPTIONS-*"))
    assert said in {line.strip() for line in newest.read_text().splitlines()}
    database.close()


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The shared budget, without what the databases of other tests still hold or give back meanwhile."""
    memory = database_module._memory.__wrapped__()
    monkeypatch.setattr(database_module, "_memory", lambda: memory)
    return memory[0]


def test_blocks_and_write_buffers_are_taken_from_the_shared_budget(path, blocks):
    before = blocks.get_usage()
    database = RocksDatabase(path)
    database.write({b"%d" % n: bytes(10_000) for n in range(100)})
    buffered = blocks.get_usage()
    assert buffered > before + 500_000
    database._db.flush()
    assert database.get_many([b"%d" % n for n in range(100)]) == [bytes(10_000)] * 100
    assert blocks.get_usage() > before
    database.close()


def test_all_partitions_of_a_process_share_one_budget_of_memory(path):
    for _ in range(2):
        database = RocksDatabase(path)
        assert database._db.property_value("rocksdb.block-cache-capacity") == str(database_module.MEMORY_BYTES)
        database.close()
    assert database_module._memory() is database_module._memory()
    _, write_buffers = database_module._memory()
    assert write_buffers.get_buffer_size() == database_module.WRITE_BUFFERS_BYTES < database_module.MEMORY_BYTES


def test_reading_everything_leaves_the_shared_cache_as_it_is(path, blocks):
    database = RocksDatabase(path)
    database.write({b"%05d" % n: bytes(1_000) for n in range(1_000)})
    database._db.flush()
    database.close()  # the write buffer that was flushed is given back at some time
    database = RocksDatabase(path)
    before = blocks.get_usage()
    assert len(list(database.items())) == 1_000
    assert blocks.get_usage() < before + 100_000
    assert database.get_many([b"%05d" % n for n in range(1_000)]) == [bytes(1_000)] * 1_000
    assert blocks.get_usage() > before + 500_000
    database.close()
