"""Directories below ``TRACKER_DATA_DIR``: made where they are needed, or said in one line why they can't be used."""

import os
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError

#: Events and states of sessions are for the user that the stages run as.
PRIVATE_MODE: Final = 0o700
PRIVATE_UMASK: Final = 0o077


def keep_files_private() -> None:
    """Let this user alone read the files and directories that the process and its children create from now on."""
    os.umask(PRIVATE_UMASK)


def make_directory(path: Path) -> None:
    """Create a directory for this user alone, unless it is there, and make sure that files can be created in it.

    Raises:
        ConfigurationError: it can't be created or written to.
    """
    try:
        path.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"can't use {path} ({error.strerror}): TRACKER_DATA_DIR has to be writable") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"can't write to {path}: TRACKER_DATA_DIR has to be writable")
