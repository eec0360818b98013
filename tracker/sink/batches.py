"""Gathering rows of one datasource into batches, across partitions. Pure: ``now_ms`` is an argument."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from topics.headers import SourcePosition
from tracker.streaming.lease import Lease


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is full: whichever comes first."""

    max_rows: int
    max_bytes: int
    window_ms: int


class Covered(NamedTuple):
    """How far a partition may be committed once the batch is written, and the last source position up to there."""

    lease: Lease
    next_offset: int
    last_seen: SourcePosition


@dataclass(slots=True)
class Batch:
    """Rows that go out as one request, and what their confirmation allows to commit."""

    rows: list[ConsumerRecord] = field(default_factory=list)
    size_bytes: int = 0
    covers: dict[TopicPartition, Covered] = field(default_factory=dict)


class Batcher:
    """One open batch. Rows are passed on as the records they came in; nothing is parsed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._batch = Batch()
        self._opened_ms: int | None = None

    @property
    def notify_at_ms(self) -> int | None:
        """When the open batch is due, by the clock that ``now_ms`` comes from; None if it holds nothing."""
        return None if self._opened_ms is None else self._opened_ms + self._limits.window_ms

    def add_row(self, row: ConsumerRecord, now_ms: int) -> Iterator[Batch]:
        """Add a row; yield the batch before it if the row would make it too large, and its own if it is full."""
        size = len(row.value) + 1  # a newline follows
        if self._batch.rows and self._batch.size_bytes + size > self._limits.max_bytes:
            yield self.close()
        self._open(now_ms)
        self._batch.rows.append(row)
        self._batch.size_bytes += size

    def cover(self, covered: Covered, now_ms: int) -> Iterator[Batch]:
        """Note how far a partition has been taken in; yield the batch if it is full now."""
        self._open(now_ms)
        self._batch.covers[covered.lease.tp] = covered
        if len(self._batch.rows) >= self._limits.max_rows:
            yield self.close()

    def close(self) -> Batch:
        """Return the open batch and begin another."""
        batch, self._batch, self._opened_ms = self._batch, Batch(), None
        return batch

    def _open(self, now_ms: int) -> None:
        if self._opened_ms is None:
            self._opened_ms = now_ms
