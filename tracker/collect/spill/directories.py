"""Which spill belongs to which process: one directory each, and whoever finds one without a process takes it over.

A process holds the lock of its directory for as long as it lives; the kernel gives the lock up however it ends.
"""

import fcntl
import itertools
import os
import shutil
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError

_PREFIX: Final = "spill-"
_SEEN: Final = "kafka-seen"


class SpillDirectories:
    """The spills below one directory. Methods are synchronous: a few system calls each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[Path, int] = {}

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
        """Return the directories that some process has left behind; from now on they are this one's."""
        found = sorted(path for path in self._root.glob(f"{_PREFIX}*") if path.is_dir() and path not in self._locks)
        return [path for path in found if ".damaged-" not in path.name and self._lock(path)]

    def remove(self, path: Path) -> None:
        """Remove a directory of this process that is empty and closed."""
        shutil.rmtree(path, ignore_errors=True)
        os.close(self._locks.pop(path))

    def release(self) -> None:
        """Give up all locks."""
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    def knows_kafka(self, bootstrap: str) -> bool:
        """Whether a process with this data directory has ever reached this Kafka and found its topics."""
        seen = self._root / _SEEN
        return seen.is_file() and seen.read_text() == bootstrap

    def note_kafka(self, bootstrap: str) -> None:
        """Note that this Kafka has been reached."""
        if not self.knows_kafka(bootstrap):
            (self._root / _SEEN).write_text(bootstrap)

    def _lock(self, path: Path) -> bool:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._locks[path] = lock
        return True
