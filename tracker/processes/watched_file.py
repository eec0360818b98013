"""A file or folder that is read again whenever it changes. What is not valid changes nothing but the log."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from tracker.errors import ConfigurationError

#: How often the file is looked at.
POLL_SECONDS: Final = 1.0
#: How often a file that is not valid is read again although it has not changed: the reason may lie outside of it.
RETRY_SECONDS: Final = 10.0

_Value = TypeVar("_Value")

log = structlog.get_logger()


class WatchedFile(Generic[_Value]):
    """The value that a file had when it was last valid."""

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], _Value],
        *,
        what: str,
        check: Callable[[_Value, _Value], str | None] = lambda _old, _new: None,
        on_change: Callable[[], None] = lambda: None,
        fingerprint: Callable[[Path], object] | None = None,
    ) -> None:
        """Read the file for the first time.

        Args:
            path: The file.
            read: Returns its value, or raises ConfigurationError.
            what: What the log calls it, such as "keys file".
            check: Given the old and a new value, says why the new one may not replace the old one, or None.
            on_change: Called when ``value`` or ``problem`` has changed.
            fingerprint: Returns what differs once there is something else to read; default: that of one file.

        Raises:
            ConfigurationError: the file can't be read or is not valid.
        """
        self._path = path
        self._read = read
        self._what = what
        self._check = check
        self._on_change = on_change
        self._fingerprint = fingerprint or file_fingerprint
        self._seen = self._fingerprint(path)
        self._read_at = time.monotonic()
        self.value = read(path)
        #: Why the present version of the file is not in use; None if it is.
        self.problem: str | None = None

    async def watch(self) -> None:
        """Look at the file about once a second, until cancelled. It is read in a thread."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            is_retry = self.problem is not None and time.monotonic() - self._read_at >= RETRY_SECONDS
            if is_retry or await asyncio.to_thread(self._fingerprint, self._path) != self._seen:
                await asyncio.to_thread(self.reload)
                self._on_change()

    def reload(self) -> None:
        """Read the file; keep the old value if the new one is not valid."""
        self._seen = self._fingerprint(self._path)
        self._read_at = time.monotonic()
        last_problem = self.problem
        try:
            value = self._read(self._path)
            self.problem = self._check(self.value, value)
        except ConfigurationError as error:
            self.problem = str(error)
        if self.problem is None:
            self.value = value
            log.info("a file was loaded again", file=self._what, path=str(self._path))
        elif self.problem != last_problem:
            log.error(
                "a file has changed and is not valid; its last valid version stays in use",
                file=self._what,
                path=str(self._path),
                reason=self.problem,
            )


def file_fingerprint(path: Path) -> tuple[int, int, int] | None:
    """Return something that changes when a file is written or replaced; None while it can't be looked at."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
