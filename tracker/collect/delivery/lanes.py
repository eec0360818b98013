"""The lanes of a migration, as the collector takes them: flags from a file that may change, records to topics."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import orjson
import structlog

from topics.catalog import LEGACY, SOURCE
from topics.queue import queue_value
from tracker import clock
from tracker.collect.delivery.batch import Routed
from tracker.collect.records.build import Outgoing
from tracker.errors import ConfigurationError
from tracker.migration.flags import Flags, read_flags
from tracker.settings import Settings

_log: Final = structlog.get_logger(__name__)


class Lanes:
    """Says where records go. Without a flags file that is the source topic."""

    def __init__(self, settings: Settings) -> None:
        """Read the flags.

        Raises:
            ConfigurationError: the file is not valid.
        """
        self._source = SOURCE.name(settings.topic_prefix)
        self._legacy = LEGACY.name(settings.topic_prefix)
        self._overlap_ms = settings.session_max_length_seconds * 1_000
        self._path = settings.migration_file
        self._seen = _stamp(self._path)
        self._flags: Flags | None = None if self._path is None else read_flags(self._path)
        #: Why the file as it is now is not in effect; None if it is.
        self.problem: str | None = None

    @property
    def topics(self) -> Sequence[str]:
        """The topics that records go to."""
        return [self._source] if self._flags is None else [self._source, self._legacy]

    def route(self, records: Iterable[Outgoing]) -> list[Routed]:
        """Return the records for each topic, in order."""
        if self._flags is None:
            return [(self._source, record.key, record.value) for record in records]
        now_ms = clock.now_ms()
        return [routed for record in records for routed in self._routed(self._flags, record, now_ms)]

    def reload(self) -> None:
        """Read the file again if it has changed. If that can't be, the flags stay as they are, and the log says so."""
        stamp = _stamp(self._path)
        if self._path is None or self._flags is None or stamp == self._seen:
            return
        self._seen = stamp
        try:
            flags = read_flags(self._path)
            self.problem = flags.rewrites(self._flags, clock.now_ms(), self._overlap_ms)
        except ConfigurationError as error:
            self.problem = str(error)
        if self.problem is not None:
            _log.error("the migration flags are not valid; those of before stay in effect", reason=self.problem)
            return
        self._flags = flags
        _log.info("migration flags loaded", steps=len(flags.steps))

    def _routed(self, flags: Flags, record: Outgoing, now_ms: int) -> Iterable[Routed]:
        data = orjson.loads(record.value).get("data") or {}
        workspace_id = data.get("workspace_id") or ""
        lanes = flags.lanes(record.session_id, workspace_id, now_ms=now_ms, overlap_ms=self._overlap_ms)
        message = queue_value(record.value) if "legacy" in lanes else None
        # What the queue has no word for is the tracker's alone: an unknown session is not closed or flushed by it.
        if "tracker" in lanes or message is None:
            yield self._source, record.key, record.value
        if message is not None:
            yield self._legacy, record.key, message


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
