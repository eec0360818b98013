"""One process per worker id and data directory: the second one ends before it can disturb the first."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracker.errors import ConfigurationError
from tracker.processes.directories import make_directory


@contextmanager
def claim(directory: Path, name: str) -> Iterator[None]:
    """Hold a directory for as long as the block runs; the kernel lets go of it whatever way the process ends.

    Raises:
        ConfigurationError: another process holds it, or it can't be written to.
    """
    make_directory(directory)
    with (directory / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another processor runs with {name} on this data directory: give each worker its own TRACKER_WORKER_ID"
            ) from None
        yield
