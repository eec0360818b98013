"""The database under a session store: what a store needs of it, and RocksDB as it is used here."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast

import structlog
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, ReadOptions, WriteBatch, WriteBufferManager

from tracker.errors import DiskFullError, StateDamagedError

log = structlog.get_logger()

#: Blocks and write buffers of all partitions of this process together, in bytes. They share one budget.
MEMORY_BYTES: Final = 128 * 1024 * 1024
WRITE_BUFFERS_BYTES: Final = 64 * 1024 * 1024
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
BLOOM_BITS_PER_KEY: Final = 10

#: RocksDB's name of the one that all rows are in.
_COLUMN_FAMILY: Final = "default"

#: Marks a database that was found damaged while it was read: the next opening begins anew.
DAMAGED_SUFFIX: Final = ".damaged"


class Database(Protocol):
    """An ordered map of bytes on a local disk. Every write is atomic.

    Any method may raise StateDamagedError (the files are no good: destroy) or DiskFullError (wait, then reopen).
    """

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, if it has one."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in their order."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield everything, as it was when the iteration began."""

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Put all rows, or delete those without a value: all of it or, if the process dies meanwhile, nothing."""

    def close(self) -> None:
        """Close the files; all that was written stays."""

    def destroy(self) -> None:
        """Close, and delete the files."""


class RocksDatabase:
    """RocksDB in raw mode."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            DiskFullError: there is no room to open it.
        """
        self._path = path
        if self._marker.exists():
            log.warning("local state was damaged; it is rebuilt from the changelog", path=path.name)
            self._delete_files()
        try:
            self._db = _open(path)
        except Exception as error:
            if _is_locked(error):
                raise
            if _is_full(error):
                raise DiskFullError(str(error)) from error
            log.warning("local state is damaged; it is rebuilt from the changelog", path=path.name, error=str(error))
            self._delete_files()
            self._db = _open(path)

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, if it has one. A few us."""
        try:
            return cast("bytes | None", self._db.get(key))
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._explain(error)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in their order."""
        try:
            return cast("list[bytes | None]", self._db.get(list(keys))) if keys else []
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._explain(error)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield everything, as it was when the iteration began."""
        try:
            yield from _checked_items(self._db)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._explain(error)

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Write one atomic batch."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._explain(error)

    def close(self) -> None:
        """Close the files; all that was written stays."""
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - after a failed write it says so again, and closes all the same
            log.warning("local state was closed after a failed write", path=self._path.name, error=str(error))

    def destroy(self) -> None:
        """Close, and delete the files."""
        self.close()
        self._delete_files()

    @property
    def _marker(self) -> Path:
        return self._path.with_name(self._path.name + DAMAGED_SUFFIX)

    def _delete_files(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        self._marker.unlink(missing_ok=True)

    def _explain(self, error: Exception) -> NoReturn:
        """Translate RocksDB's error, and mark damage for the next opening, in case this process ends."""
        if _is_full(error) or _is_closed(error):
            raise DiskFullError(str(error)) from error
        if "corruption" in str(error).lower():
            self._marker.touch()
            raise StateDamagedError(f"{self._path.name}: {error}") from error
        raise error


def _checked_items(db: Rdict) -> Iterator[tuple[bytes, bytes]]:
    """Yield everything, or raise: rocksdict's own ``items()`` ends without a word at the first damaged block."""
    cursor = db.iter(_scan_options())
    cursor.seek_to_first()
    valid, key, value, move_on = cursor.valid, cursor.key, cursor.value, cursor.next
    while valid():
        yield key(), value()
        move_on()
    cursor.status()


def _is_locked(error: Exception) -> bool:
    return "lock" in str(error).lower() and "block" not in str(error).lower()


def _is_full(error: Exception) -> bool:
    return any(words in str(error) for words in ("No space left", "Disk quota exceeded", "File too large"))


def _is_closed(error: Exception) -> bool:
    """Return whether the database was closed for a full disk, and the disk was too full to open it again."""
    return "already closed" in str(error).lower()


@cache
def _scan_options() -> ReadOptions:
    """Who reads everything once leaves the cache as it is."""
    options = ReadOptions()
    options.fill_cache(False)  # type: ignore[call-arg]  # noqa: FBT003 - RocksDB's name; its stub lacks the argument
    return options


@cache
def _memory() -> tuple[Cache, WriteBufferManager]:
    """One budget for all partitions: how many of them a worker has is not known beforehand."""
    blocks = Cache(MEMORY_BYTES)
    may_stall = False  # flushing sooner is enough; a stalled write would hold up all partitions
    return blocks, WriteBufferManager.new_write_buffer_manager_with_cache(WRITE_BUFFERS_BYTES, may_stall, blocks)


def _open(path: Path) -> Rdict:
    blocks, write_buffers = _memory()
    options = Options(raw_mode=True)
    options.set_write_buffer_manager(write_buffers)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(blocks)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)  # noqa: FBT003
    options.set_block_based_table_factory(table)
    # Given for the column family too: otherwise one that is there already is opened without shared cache and filter.
    return Rdict(str(path), options, {_COLUMN_FAMILY: options})
