"""The keys in use: read at the start, and again whenever their file changes. A broken new file changes nothing."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from tracker.collect.access.keys import KeyRing, load_keys
from tracker.collect.metrics import CollectMetrics
from tracker.errors import ConfigurationError

#: How often the file is looked at.
POLL_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class WatchedKeys:
    """The key ring of a file, as it was when the file was last valid."""

    def __init__(self, path: Path, metrics: CollectMetrics) -> None:
        """Load the file.

        Raises:
            ConfigurationError: it can't be read or is not valid; at the start there is nothing to fall back on.
        """
        self._path = path
        self._metrics = metrics
        self._seen = _fingerprint(path)
        self._use(load_keys(path))

    async def watch(self) -> None:
        """Look at the file again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            seen = _fingerprint(self._path)
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                ring = await asyncio.to_thread(load_keys, self._path)
            except ConfigurationError as error:
                self._metrics.keys_file_valid.set(0)
                _log.error(
                    "the keys file is not valid; the keys of before stay in effect",
                    reason=str(error),
                    kept_keys=len(self.ring),
                )
            else:
                self._use(ring)
                _log.info("keys file loaded", keys=len(ring))

    def _use(self, ring: KeyRing) -> None:
        self.ring = ring
        self._metrics.keys_file_valid.set(1)
        self._metrics.keys.set(len(ring))


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None if it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
