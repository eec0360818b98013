"""The database under a session store: what a store needs of it, and RocksDB as it is used here."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import structlog
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

log = structlog.get_logger()

BLOCK_CACHE_BYTES: Final = 32 * 1024 * 1024
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
BLOOM_BITS_PER_KEY: Final = 10


class Database(Protocol):
    """An ordered map of bytes on a local disk. Every write is atomic."""

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, if it has one."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in their order."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield everything, as it was when the iteration began."""

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Put all rows, or delete those without a value: all of it or, if the process dies meanwhile, nothing."""

    def close(self) -> None:
        """Let go of the files; what was written stays."""

    def destroy(self) -> None:
        """Close, and delete the files."""


class RocksDatabase:
    """RocksDB in raw mode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), _options())
        except Exception as error:
            if "lock" in str(error).lower():
                raise
            # A damaged database costs a recovery, nothing else: the changelog has it all.
            log.warning("local state is damaged; it is rebuilt from the changelog", path=path.name, error=str(error))
            shutil.rmtree(path)
            self._db = Rdict(str(path), _options())

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, if it has one. A few us."""
        found: bytes | None = self._db.get(key)
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of several keys, in their order."""
        return cast("list[bytes | None]", self._db.get(list(keys))) if keys else []

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield everything, as it was when the iteration began."""
        return cast("Iterator[tuple[bytes, bytes]]", self._db.items())

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Write one atomic batch."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._db.write(batch)

    def close(self) -> None:
        """Let go of the files; what was written stays."""
        self._db.close()

    def destroy(self) -> None:
        """Close, and delete the files."""
        self._db.close()
        shutil.rmtree(self._path)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - RocksDB's name and signature
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)  # noqa: FBT003
    options.set_block_based_table_factory(table)
    return options
