"""A double of local disks: databases in memory that outlive their process, unless the disk is lost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from tracker.errors import DiskFullError

#: Writes that a machine may lose when its power goes: RocksDB's log is not synced after each batch.
UNSYNCED_WRITES = 6

Rows = dict[bytes, bytes]


class Disk:
    """The data directory of one worker."""

    def __init__(self) -> None:
        self.files: dict[Path, Rows] = {}
        self.open: set[Path] = set()
        self.is_full = False
        #: So full that not even a database can be opened.
        self.is_full_to_the_brim = False
        self.refused_writes = 0
        self.refused_openings = 0
        self._before: list[tuple[Rows, Mapping[bytes, bytes | None]]] = []

    def note(self, rows: Rows, changed: Mapping[bytes, bytes | None]) -> None:
        """Remember what a write replaces."""
        self._before.append((rows, {key: rows.get(key) for key in changed}))
        del self._before[:-UNSYNCED_WRITES]

    def release(self) -> None:
        """The process that held the files has ended."""
        self.open.clear()

    def lose(self) -> None:
        """All is gone."""
        self.files.clear()
        self._before.clear()

    def lose_unsynced(self, rng: Random) -> int:
        """The machine lost its power: some of the last writes never reached the disk."""
        return self.lose_writes(rng.randint(0, len(self._before)))

    def lose_writes(self, count: int = UNSYNCED_WRITES) -> int:
        """Take back as many of the last unsynced writes as there are, and return how many that were."""
        lost = min(count, len(self._before))
        for _ in range(lost):
            rows, before = self._before.pop()
            _put(rows, before)
        return lost


def _put(rows: Rows, changed: Mapping[bytes, bytes | None]) -> None:
    for key, value in changed.items():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


class MemoryDatabase:
    """A ``Database`` in memory. ``before_write`` and ``after_write`` are where its process may end."""

    def __init__(
        self,
        path: Path,
        disk: Disk,
        before_write: Callable[[], None] = lambda: None,
        after_write: Callable[[], None] = lambda: None,
    ) -> None:
        if path in disk.open:
            raise RuntimeError(f"lock: {path} is open in another process")
        if disk.is_full_to_the_brim:
            disk.refused_openings += 1
            raise DiskFullError("no space left on device")
        disk.open.add(path)
        self._path = path
        self._disk = disk
        self._rows = disk.files.setdefault(path, {})
        self._before_write = before_write
        self._after_write = after_write
        self._has_failed = False

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(self._rows.items()))

    def write(self, rows: Mapping[bytes, bytes | None]) -> None:
        self._before_write()
        if self._disk.is_full or self._has_failed:
            # As RocksDB does: after a write that failed, it takes nothing more until it is opened anew.
            self._has_failed = True
            self._disk.refused_writes += 1
            raise DiskFullError("no space left on device")
        self._disk.note(self._rows, rows)
        _put(self._rows, rows)
        self._after_write()

    def close(self) -> None:
        self._disk.open.discard(self._path)

    def destroy(self) -> None:
        self.close()
        self._disk.files.pop(self._path, None)
