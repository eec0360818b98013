"""Locks between processes: a lock file that one process holds until it releases it or ends, in whatever way."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from tracker.errors import ConfigurationError
from tracker.processes.directories import make_directory

LOCK_FILE: Final = ".in-use"


class Lock:
    """A lock that this process holds. The kernel releases it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release it; the file stays."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Hold it while the block runs."""
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: Path) -> Lock | None:
    """Create a lock file if it does not exist and lock it; None if another process holds it.

    Raises:
        OSError: the file can't be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return Lock(descriptor)


def lock_directory(directory: Path, *, refusal: str = "") -> Lock:
    """Create a directory if it does not exist, and make sure that no other process uses it.

    Args:
        directory: The directory.
        refusal: What the error says if another process holds the lock; default: a line that names the directory.

    Raises:
        ConfigurationError: another process holds the lock, or the directory can't be used.
    """
    make_directory(directory)
    try:
        lock = try_lock(directory / LOCK_FILE)
    except OSError as error:
        reason = f"can't lock {directory} ({error.strerror}): TRACKER_DATA_DIR has to be writable"
        raise ConfigurationError(reason) from None
    if lock is None:
        advice = "stop that one or set TRACKER_DATA_DIR to another place"
        raise ConfigurationError(refusal or f"{directory} is in use by another run; {advice}")
    return lock
