"""Which spill belongs to which process: each has its own directory, and takes over those whose process has ended.

A process holds the lock of its directory for as long as it lives; the kernel releases it however the process ends.
"""

import itertools
import shutil
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError
from tracker.processes.lock import Lock, try_lock

_PREFIX: Final = "spill-"
_SEEN: Final = "kafka-seen"


class SpillDirectories:
    """The spills below one directory. Methods are synchronous: a few system calls each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[Path, Lock] = {}

    def claim(self) -> Path:
        """Return a directory for this process: the first that no other process has.

        Raises:
            ConfigurationError: the directories can't be made.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            return next(path for number in itertools.count() if self._lock(path := self._root / f"{_PREFIX}{number}"))
        except OSError as error:
            raise ConfigurationError(
                f"can't keep the spill in {self._root} ({error.strerror}): TRACKER_DATA_DIR has to be writable"
            ) from None

    def claim_orphans(self) -> list[Path]:
        """Return the directories whose process has ended. From now on they belong to this process.

        Raises:
            OSError: a lock file can't be opened.
        """
        found = sorted(path for path in self._root.glob(f"{_PREFIX}*") if path.is_dir() and path not in self._locks)
        return [path for path in found if ".damaged-" not in path.name and self._lock(path)]

    def remove(self, path: Path) -> None:
        """Remove a directory of this process that is empty and closed."""
        shutil.rmtree(path, ignore_errors=True)
        self._locks.pop(path).release()

    def release(self) -> None:
        """Give up all directories."""
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()

    def knows_kafka(self, bootstrap: str) -> bool:
        """Whether a process with this data directory has ever reached this Kafka and found its topics."""
        seen = self._root / _SEEN
        return seen.is_file() and seen.read_text() == bootstrap

    def note_kafka(self, bootstrap: str) -> None:
        """Note that this Kafka has been reached.

        Raises:
            OSError: the note can't be written.
        """
        if not self.knows_kafka(bootstrap):
            (self._root / _SEEN).write_text(bootstrap)

    def _lock(self, path: Path) -> bool:
        lock = try_lock(path.with_name(path.name + ".lock"))
        if lock is not None:
            self._locks[path] = lock
        return lock is not None
