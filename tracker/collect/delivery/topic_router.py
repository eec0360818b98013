"""Which topics a record goes to: the source topic, or as the lanes of a migration say."""

from collections.abc import Iterable, Sequence

import orjson

from topics.catalog import LEGACY, SOURCE
from topics.codec import workspace_of
from topics.queue import queue_value
from tracker import clock
from tracker.collect.delivery.record_batch import TopicRecord
from tracker.collect.records.source_records import EncodedRecord
from tracker.migration.flags import Flags
from tracker.settings import Settings


class TopicRouter:
    """Adds the topic to records. The flags are replaced by assigning ``flags``; None: no migration is under way."""

    def __init__(self, settings: Settings, flags: Flags | None) -> None:
        self._source = SOURCE.name(settings.topic_prefix)
        self._legacy = LEGACY.name(settings.topic_prefix)
        self._overlap_ms = settings.session_max_length_seconds * 1_000
        self.flags = flags

    @property
    def topics(self) -> Sequence[str]:
        """The topics that records may go to."""
        return [self._source] if self.flags is None else [self._source, self._legacy]

    def route(self, records: Iterable[EncodedRecord]) -> list[TopicRecord]:
        """Return the records for each topic, in order."""
        if self.flags is None:
            return [(self._source, record.key, record.value) for record in records]
        now_ms = clock.now_ms()
        return [routed for record in records for routed in self._by_lane(self.flags, record, now_ms)]

    def why_not(self, old: Flags, new: Flags) -> str | None:
        """Return why new flags may not replace the old ones: they would tear a session apart. None if they may."""
        return new.rewrites(old, clock.now_ms(), self._overlap_ms)

    def _by_lane(self, flags: Flags, record: EncodedRecord, now_ms: int) -> Iterable[TopicRecord]:
        workspace_id = workspace_of(orjson.loads(record.value))
        lanes = flags.lanes(record.session_id, workspace_id, now_ms=now_ms, overlap_ms=self._overlap_ms)
        message = queue_value(record.value) if "legacy" in lanes else None
        # The queue has no message for some records, such as the closing of a session. Those go to the tracker alone.
        if "tracker" in lanes or message is None:
            yield self._source, record.key, record.value
        if message is not None:
            yield self._legacy, record.key, message
