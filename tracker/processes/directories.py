"""Directories below ``TRACKER_DATA_DIR``: made where they are needed, or said in one line why they can't be used."""

import os
from pathlib import Path

from tracker.errors import ConfigurationError


def make_directory(path: Path) -> None:
    """Create a directory, unless it is there, and make sure that files can be created in it.

    Raises:
        ConfigurationError: it can't be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"can't use {path} ({error.strerror}): TRACKER_DATA_DIR has to be writable") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"can't write to {path}: TRACKER_DATA_DIR has to be writable")
