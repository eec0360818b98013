"""One datasource's way from chunks to confirmed rows: gather, ship, commit. Datasources never wait for each other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic, perf_counter
from typing import Final

import structlog
from aiokafka import ConsumerRecord

from topics.dead_letter import RejectReason
from topics.headers import FLUSH, read_position, was_sent_again
from tracker.sink import metrics
from tracker.sink.batches import Batch, Batcher, Covered, Limits
from tracker.sink.lease import SinkLease
from tracker.sink.tinybird import RowsRefused, RowsTooLarge, TinybirdClient
from tracker.streaming.chunk import Chunk

log = structlog.get_logger()

#: Full batches that may wait for the one that is being written; then chunks wait, and Kafka keeps the backlog.
MAX_BATCHES_WAITING: Final = 2

Reject = Callable[[ConsumerRecord, RejectReason, str], Awaitable[None]]
Commit = Callable[[Sequence[Covered]], Awaitable[None]]


class Pipeline:
    """Takes chunks of one output topic and appends their rows to one datasource."""

    def __init__(
        self, datasource: str, limits: Limits, client: TinybirdClient, *, reject: Reject, commit: Commit
    ) -> None:
        self._datasource = datasource
        self._client = client
        self._reject = reject
        self._commit = commit
        self._batcher = Batcher(limits)
        self._full: deque[Batch] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._flushing = False

    async def take(self, chunk: Chunk) -> None:
        """Accept a chunk; returns when there is room for another."""
        lease = chunk.lease
        assert isinstance(lease, SinkLease)  # noqa: S101 - the opener makes no other
        self._idle.clear()
        for record in chunk.records:
            await self._take_record(lease, record)
        self._full.extend(self._batcher.cover(Covered(lease, chunk.end, lease.seen.last), _now_ms()))
        self._changed.set()
        while len(self._full) >= MAX_BATCHES_WAITING:
            self._room.clear()
            await self._room.wait()

    async def _take_record(self, lease: SinkLease, record: ConsumerRecord) -> None:
        position = read_position(record.headers)
        if position is None:
            await self._turn_away(record, "no_position", "an output record carries its source position in headers")
        elif not lease.seen.is_new(position) and not was_sent_again(record.headers):
            metrics.DUPLICATES.labels(self._datasource).inc()
        elif record.value and b"\n" in record.value:
            await self._turn_away(record, "invalid", "a row has to be one line of JSON")
        elif record.value:
            self._full.extend(self._batcher.add_row(record, _now_ms()))
            covered = Covered(lease, record.offset + 1, lease.seen.last)
            self._full.extend(self._batcher.cover(covered, _now_ms()))
        elif any(name == FLUSH for name, _ in record.headers):
            self._flushing = True
        else:
            await self._turn_away(record, "empty_value", "neither a row nor a flush marker")

    async def run(self) -> None:
        """Write batches, one at a time and in order, for ever."""
        while True:
            batch = await self._next()
            await self._write(batch)
            live = [covered for covered in batch.covers.values() if covered.lease.alive]
            if live:
                await self._commit(live)

    async def flush(self) -> None:
        """Write what is held without waiting for the window, and return when nothing is held any more."""
        self._flushing = True
        self._changed.set()
        await self._idle.wait()

    async def _next(self) -> Batch:
        while True:
            if self._full:
                batch = self._full.popleft()
                self._room.set()
                return batch
            due_ms = self._batcher.notify_at_ms
            if due_ms is not None and (self._flushing or due_ms <= _now_ms()):
                self._flushing = False
                return self._batcher.close()
            if due_ms is None:
                self._flushing = False
                self._idle.set()
            self._changed.clear()
            wait_seconds = None if due_ms is None else max(0, due_ms - _now_ms()) / 1000
            try:
                await asyncio.wait_for(self._changed.wait(), wait_seconds)
            except TimeoutError:
                continue

    async def _write(self, batch: Batch) -> None:
        began = perf_counter()
        await self._ship(batch.rows)
        if batch.rows:
            metrics.BATCHES.labels(self._datasource).inc()
            metrics.BATCH_ROWS.labels(self._datasource).observe(len(batch.rows))
            metrics.WRITE_SECONDS.labels(self._datasource).observe(perf_counter() - began)

    async def _ship(self, rows: list[ConsumerRecord]) -> None:
        """Append rows; where Tinybird refuses them, halve until the ones at fault are alone, and turn those away."""
        if not rows:
            return
        try:
            result = await self._client.ingest(self._datasource, [row.value for row in rows])
        except (RowsTooLarge, RowsRefused) as error:
            if len(rows) == 1:
                reason: RejectReason = "oversized" if isinstance(error, RowsTooLarge) else "refused"
                await self._turn_away(rows[0], reason, str(error))
                return
            half = len(rows) // 2
            await self._ship(rows[:half])
            await self._ship(rows[half:])
            return
        metrics.ROWS.labels(self._datasource).inc(result.successful_rows)
        if result.quarantined_rows:
            metrics.QUARANTINED.labels(self._datasource).inc(result.quarantined_rows)
            log.error("Tinybird quarantined rows", datasource=self._datasource, rows=result.quarantined_rows)

    async def _turn_away(self, record: ConsumerRecord, reason: RejectReason, detail: str) -> None:
        metrics.REJECTED.labels(self._datasource, reason).inc()
        await self._reject(record, reason, detail)


def _now_ms() -> int:
    return int(monotonic() * 1000)
