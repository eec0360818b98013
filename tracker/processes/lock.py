"""A directory that only one process may use at a time."""

import fcntl
from pathlib import Path
from typing import IO, Final

from tracker.errors import ConfigurationError
from tracker.processes.directories import make_directory

LOCK_FILE: Final = ".in-use"


def lock_directory(directory: Path) -> IO[str]:
    """Create the directory if need be and take it; closing the returned file, or dying, gives it back.

    Raises:
        ConfigurationError: if another process holds it, or it can't be written to.
    """
    make_directory(directory)
    held = (directory / LOCK_FILE).open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise ConfigurationError(
            f"{directory} is in use by another run; stop that one or set TRACKER_DATA_DIR to another place"
        ) from None
    return held
