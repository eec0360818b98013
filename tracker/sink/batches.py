"""Gathering rows of one datasource into batches, across partitions. Pure: ``now_ms`` is an argument."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aiokafka import ConsumerRecord

from topics.headers import SourcePosition, read_position
from tracker.sink.lease import SinkLease

#: Why a batch was closed. *flush* is a flush marker, a session's end, a stop or a revocation.
ClosedBy = Literal["rows", "bytes", "window", "flush"]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is full: whichever comes first."""

    max_rows: int
    max_bytes: int
    window_ms: int


class Covered(NamedTuple):
    """How far a partition may be committed once the batch is written, and the last source position up to there."""

    lease: SinkLease
    next_offset: int
    last_seen: SourcePosition


@dataclass(slots=True)
class Batch:
    """Rows that go out as one request, and the offsets that may be committed once they are written, lease by lease."""

    rows: list[ConsumerRecord] = field(default_factory=list)
    size_bytes: int = 0
    covers: dict[SinkLease, Covered] = field(default_factory=dict)
    closed_by: ClosedBy = "window"


class Batcher:
    """One open batch. Rows are passed on as the records they came in; nothing is parsed."""

    def __init__(self, limits: Limits) -> None:
        #: May be changed at any time; an open batch then closes by the new ones.
        self.limits = limits
        self._batch = Batch()
        self._opened_ms: int | None = None

    @property
    def notify_at_ms(self) -> int | None:
        """When the open batch is due, by the clock that ``now_ms`` comes from; None if it holds nothing."""
        return None if self._opened_ms is None else self._opened_ms + self.limits.window_ms

    def add(
        self, rows: Sequence[ConsumerRecord], seen_before: SourcePosition, covered: Covered, now_ms: int
    ) -> Iterator[Batch]:
        """Add consecutive rows of a partition, taken in up to ``covered``; yield each batch that is full.

        No batch is over a limit, but for a row that is too large by itself.
        """
        sizes = [len(row.value) + 1 for row in rows]  # a newline follows
        start, seen = 0, seen_before
        while (end := self._fitting(sizes, start)) < len(rows):
            if end > start:
                part = rows[start:end]
                # Not just the last one's: rows that came back from the dead letters have old positions.
                seen = max(seen, *(read_position(row.headers) or seen for row in part))
                self._put(part, sizes[start:end], Covered(covered.lease, part[-1].offset + 1, seen), now_ms)
            yield self.close(self._full_by())
            start = end
        self._put(rows[start:], sizes[start:], covered, now_ms)
        if len(self._batch.rows) >= self.limits.max_rows or self._batch.size_bytes >= self.limits.max_bytes:
            yield self.close(self._full_by())

    def close(self, closed_by: ClosedBy) -> Batch:
        """Return the open batch and begin another."""
        batch, self._batch, self._opened_ms = self._batch, Batch(), None
        batch.closed_by = closed_by
        return batch

    def _fitting(self, sizes: Sequence[int], start: int) -> int:
        """Return up to where rows from ``start`` on fit into the open batch; into an empty one at least one does."""
        room_rows = self.limits.max_rows - len(self._batch.rows)
        room_bytes = self.limits.max_bytes - self._batch.size_bytes
        if len(sizes) - start <= room_rows and sum(sizes[start:]) <= room_bytes:
            return len(sizes)
        end = start
        while end < len(sizes) and end - start < room_rows and sizes[end] <= room_bytes:
            room_bytes -= sizes[end]
            end += 1
        return end if end > start or self._batch.rows else start + 1

    def _put(self, rows: Sequence[ConsumerRecord], sizes: Sequence[int], covered: Covered, now_ms: int) -> None:
        if self._opened_ms is None:
            self._opened_ms = now_ms
        self._batch.rows += rows
        self._batch.size_bytes += sum(sizes)
        self._batch.covers[covered.lease] = covered

    def _full_by(self) -> ClosedBy:
        return "rows" if len(self._batch.rows) >= self.limits.max_rows else "bytes"
