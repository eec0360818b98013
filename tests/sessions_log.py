"""A log of one partition for tests of the core: write records, fold them, look at what came out."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from topics.dead_letter import LOG_APPEND_TIME
from topics.schemas import NO_SCHEMAS, Schemas
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold
from tracker.sessions.layouts import decode_state, decode_watermark, encode_state, encode_watermark, offset_of
from tracker.sessions.outputs import FoldResult, Output
from tracker.sessions.rules import Rules
from tracker.sessions.state import Watermark
from tracker.sessions.working_table import Row

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000


def rows(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """The JSON of the outputs that carry a row."""
    return [orjson.loads(output.value) for output in outputs if output.value]


class Record(NamedTuple):
    """A source record as a Kafka client would hand it out."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_type: int = LOG_APPEND_TIME


Given = dict[str, Any] | None


def _envelope(visitor: Given, retry_count: int, more: Given) -> dict[str, Any]:
    """What a record has beside its data; what is left out is not there."""
    found = ({} if visitor is None else {"visitor": visitor}) | ({"retry_count": retry_count} if retry_count else {})
    return found | (more or {})


class Log:
    """Appends records with stream time START_MS unless told otherwise; ``fold`` folds what is new."""

    def __init__(
        self,
        rules: Rules | None = None,
        number: int = 3,
        partition_of: Callable[[bytes], int] | None = None,
        schemas: Schemas = NO_SCHEMAS,
        topic: str = "tracker.events",
    ) -> None:
        self.schemas = schemas
        self.topic = topic
        self.number = number
        self.partition_of = partition_of or (lambda _: number)
        self.records: list[Record] = []
        self.table: dict[bytes, Row] = {}
        self.pages: dict[bytes, bytes] = {}
        self._folded = 0
        self.rules = rules or Rules()
        self.partition = self._new_fold(Watermark(stream_time_ms=0))

    def _new_fold(self, mark: Watermark) -> PartitionFold:
        return PartitionFold(
            topic=self.topic,
            partition=self.number,
            partition_of=self.partition_of,
            rules=self.rules,
            lookup=self._lookup,
            read_pages=lambda keys: [self.pages.get(key) for key in keys],
            deadlines=Deadlines(),
            mark=mark,
            schemas=self.schemas,
        )

    def _lookup(self, key: bytes) -> Row | None:
        return self.table.get(key)

    def raw(
        self, key: bytes | None, value: bytes | None, at: int = START_MS, headers: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        self.records.append(Record(len(self.records), at, key, value, tuple(headers)))

    def _keyed(self, kind: str, key: str, at: int, data: dict[str, Any] | None, **envelope: Any) -> None:
        record = {"type": kind, "session_id": key, "timestamp": "2026-01-01T00:00:00Z", **envelope}
        if data is not None:
            record["data"] = data
        self.raw(key.encode(), orjson.dumps(record), at)

    def event(
        self, key: str, at: int = START_MS, *, visitor: Given = None, retry_count: int = 0, envelope: Given = None,
        **data: Any,
    ) -> None:  # fmt: skip
        self._keyed("event", key, at, {"event_type": "click", **data}, **_envelope(visitor, retry_count, envelope))

    def session(
        self, key: str, at: int = START_MS, *, visitor: Given = None, retry_count: int = 0, envelope: Given = None,
        **data: Any,
    ) -> None:  # fmt: skip
        self._keyed("session", key, at, data, **_envelope(visitor, retry_count, envelope))

    def expire(self, key: str, at: int = START_MS, *, envelope: Given = None, **data: Any) -> None:
        self._keyed("expire", key, at, data or None, **(envelope or {}))

    def flush(self, key: str, at: int = START_MS, *, envelope: Given = None) -> None:
        self._keyed("flush", key, at, None, **(envelope or {}))

    def tick(self, at: int) -> None:
        self.raw(None, b'{"type":"tick"}', at)

    def fold(self, upto: int | None = None) -> FoldResult:
        """Fold what has not been folded yet, up to an offset, and write the states down."""
        result = self.partition.fold(self.records[self._folded : upto])
        self._folded = len(self.records) if upto is None else upto
        for key, page in result.pages.items():
            if page.content is None:
                self.pages.pop(key, None)
            else:
                self.pages[key] = page.content
        for key, row in result.changed.items():
            if row.state is None:
                self.table.pop(key, None)
            else:
                self.table[key] = row
        return result

    def encoded_table(self) -> dict[bytes, bytes]:
        """The table as it lies in the changelog."""
        layout = self.rules.layout
        return {key: encode_state(stored.offset, stored.state, layout) for key, stored in self.table.items()}

    def recover(self, mark: Watermark | None = None) -> None:
        """Another worker takes over from what was written down; ``mark``: with an older watermark than the states."""
        written = encode_watermark(0, mark or self.partition.mark)
        self.table = {key: Row(key, decode_state(raw), offset_of(raw)) for key, raw in self.encoded_table().items()}
        self.partition = self._new_fold(decode_watermark(written))
        self.partition.deadlines.load((key, stored.state.deadline_ms(self.rules)) for key, stored in self.table.items())

    def go_back_to(self, offset: int) -> None:
        """Fold from here again, on the states as they are."""
        self._folded = offset
