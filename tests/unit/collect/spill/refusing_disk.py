"""A disk that refuses what a spill writes, when a test says so, and traces whether each write was synced.

It stands between a ``SpillStore`` and the real RocksDB: what is not refused is really written.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracker import clock
from tracker.collect.spill import store as store_module

NO_SPACE = "IO error: No space left on device"
DAMAGE = "Corruption: checksum mismatch"


class RefusingDisk:
    """Counts what it refuses. While it ``refuses_opening``, no database can be opened either.

    The next ``damaged_openings`` find damaged files.
    """

    def __init__(self) -> None:
        self.refuses = False
        self.refuses_opening = False
        #: What the system says when it refuses an opening.
        self.refusal = NO_SPACE
        self.damaged_openings = 0
        self.refused_writes = 0
        self.refused_openings = 0
        self.openings = 0
        #: For each write that went through: whether it was synced.
        self.synced: list[bool] = []
        self.now_ms = 1_000_000

    def open(self, rdict: Any, *args: Any) -> Any:
        if self.refuses_opening:
            self.refused_openings += 1
            raise Exception(self.refusal)  # noqa: TRY002 - as rocksdict does
        if self.damaged_openings:
            self.damaged_openings -= 1
            raise Exception(DAMAGE)  # noqa: TRY002 - as above
        self.openings += 1
        return _Database(rdict(*args), self)


class _Database:
    def __init__(self, database: Any, disk: RefusingDisk) -> None:
        self._database = database
        self._disk = disk

    def write(self, batch: Any, write_opt: Any) -> None:
        if self._disk.refuses:
            self._disk.refused_writes += 1
            raise Exception(NO_SPACE)  # noqa: TRY002
        self._disk.synced.append(write_opt.sync)
        self._database.write(batch, write_opt=write_opt)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


class _Opener:
    def __init__(self, rdict: Any, disk: RefusingDisk) -> None:
        self._rdict = rdict
        self._disk = disk

    def __call__(self, *args: Any) -> Any:
        return self._disk.open(self._rdict, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rdict, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingDisk]:
    """The disk under every spill of this test; its clock is the spill's."""
    disk = RefusingDisk()
    monkeypatch.setattr(store_module, "Rdict", _Opener(store_module.Rdict, disk))
    monkeypatch.setattr(clock, "now_ms", lambda: disk.now_ms)
    return disk


def start_again(path: Path) -> store_module.SpillStore:
    """The next process opens what was closed."""
    return store_module.SpillStore(path)
