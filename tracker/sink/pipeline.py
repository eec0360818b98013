"""One datasource's way from chunks to confirmed rows: sort, gather, ship, commit. Each goes its own way.

Several batches are under way at a time. A bad row keeps its own batch busy, not the others; a partition is committed
up to its first row that is not written yet, whatever other partitions do.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import ConsumerRecord

from topics.dead_letter import RejectReason
from topics.headers import POSITION_HEADERS, read_source_time_ms
from tracker import clock
from tracker.sink import metrics
from tracker.sink.batches import Batch, Batcher, Covered, Limits
from tracker.sink.commits import Commit, Committer
from tracker.sink.frontier import Frontier
from tracker.sink.health import DatasourceHealth
from tracker.sink.lease import SinkLease
from tracker.sink.policy import BatchPolicy
from tracker.sink.sorting import sort_records
from tracker.streaming.chunk import Chunk
from tracker.tinybird.client import TinybirdClient
from tracker.tinybird.delivery import Outcome

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

log = structlog.get_logger()

#: What a row costs in memory besides its value: key, headers and Python's objects.
ROW_OVERHEAD_BYTES: Final = 1_000

Reject = Callable[[ConsumerRecord, RejectReason, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a pipeline may have under way and hold."""

    max_batches_in_flight: int
    max_held_bytes: int


class Pipeline:
    """Takes chunks of one output topic and appends their rows to one datasource."""

    def __init__(
        self,
        datasource: str,
        limits: Limits,
        bounds: Bounds,
        client: TinybirdClient,
        *,
        reject: Reject,
        commit: Commit,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._tracing = tracing
        self.datasource = datasource
        metrics.start_at_zero(datasource)
        self._client = client
        self._bounds = bounds
        self._reject = reject
        self._policy = BatchPolicy(limits)
        self._batcher = Batcher(self._policy.limits)
        self._ready: deque[Batch] = deque()
        self._frontier = Frontier()
        self._committer = Committer(commit)
        self._shipping: dict[asyncio.Task[None], Batch] = {}
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._flushing = False
        self._failed: asyncio.Future[None]
        self._held_bytes = 0

    async def take(self, chunk: Chunk) -> None:
        """Accept a chunk; returns when there is room for another."""
        lease = chunk.lease
        assert isinstance(lease, SinkLease)  # noqa: S101 - the opener makes no other
        seen_before = lease.seen.last
        found = sort_records(chunk.records, lease.seen)
        covered = Covered(lease, chunk.end, lease.seen.last)
        metrics.DUPLICATES.labels(self.datasource).inc(found.duplicates)
        if found.odd:
            await asyncio.gather(*(self._turn_away(*record) for record in found.odd))
        if not lease.alive:
            return
        self._hold(sum(len(row.value) + 1 for row in found.rows) + len(found.rows) * ROW_OVERHEAD_BYTES)
        self._ready.extend(self._batcher.add(found.rows, seen_before, covered, _now_ms()))
        self._flushing |= found.has_flush
        self._changed.set()
        while lease.alive and self._held_bytes >= self._bounds.max_held_bytes:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Ship batches for ever, several at a time; commit each partition in order.

        Raises:
            ConfigurationError: Tinybird can't be used as it is configured; nothing is lost.
        """
        self._failed = asyncio.get_running_loop().create_future()
        background = [self._start(self._committer.run()), self._start(self._ship_forever())]
        try:
            await self._failed
        finally:
            for task in (*background, *self._shipping):
                task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)

    async def _ship_forever(self) -> None:
        while True:
            batch = await self._next()
            self._frontier.sent(batch)
            is_last_place = len(self._shipping) + 1 >= self._bounds.max_batches_in_flight
            task = self._start(self._ship(batch, is_behind=is_last_place or bool(self._ready)))
            self._shipping[task] = batch
            task.add_done_callback(self._shipped)
            metrics.IN_FLIGHT.labels(self.datasource).set(len(self._shipping))

    async def flush(self) -> None:
        """Ship all held rows without waiting for the window; return once they are written and committed."""
        while self._batcher.notify_at_ms is not None or self._ready or self._shipping:
            self._flushing = True
            self._changed.set()
            self._room.clear()
            await self._room.wait()
        await self._committer.wait_until_idle()

    async def hand_over(self, grace_seconds: float) -> None:
        """Ship and commit the held rows, within the grace, and drop the rest: partitions are being revoked.

        Their next owner begins at the committed offset, so it sends the dropped rows.
        """
        answers = self._client.circuit(self.datasource).state == "closed"
        with self._committer.handing_over():
            try:
                async with asyncio.timeout(grace_seconds if answers else 0):
                    await self.flush()
            except TimeoutError:
                log.info("handed over with rows under way; their next owner sends them", datasource=self.datasource)
            await self._let_go()

    async def _let_go(self) -> None:
        """Drop all rows that are held or under way."""
        # Waiting batches first: otherwise they would be shipped as soon as a cancelled request makes room.
        self._batcher = Batcher(self._policy.limits)
        self._ready.clear()
        tasks = list(self._shipping)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._frontier = Frontier()
        self._flushing = False
        self._hold(-self._held_bytes)

    def health(self) -> DatasourceHealth:
        """Return how this datasource does."""
        return DatasourceHealth(self.datasource, self._client.circuit(self.datasource).state, self._held_bytes)

    async def _next(self) -> Batch:
        """Return the next batch, once one is full or due and may be under way."""
        while True:
            due_ms, now_ms = self._batcher.notify_at_ms, _now_ms()
            if len(self._shipping) < self._bounds.max_batches_in_flight:
                if self._ready:
                    return self._ready.popleft()
                if due_ms is not None and (self._flushing or due_ms <= now_ms):
                    is_flush, self._flushing = self._flushing, False
                    return self._batcher.close("flush" if is_flush else "window")
                self._flushing = False
                wait_seconds = None if due_ms is None else (due_ms - now_ms) / 1000
            else:
                wait_seconds = None
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait_seconds)
            except TimeoutError:
                continue

    async def _ship(self, batch: Batch, *, is_behind: bool) -> None:
        rows = batch.rows
        if rows:
            began_seconds = monotonic()
            with nullcontext() if self._tracing is None else self._tracing.batch(self.datasource, rows):
                outcome = await self._client.send_rows(self.datasource, [row.value for row in rows])
            if turned_away := outcome.turned_away:
                await asyncio.gather(*(self._turn_away(rows[row.place], row.reason, row.detail) for row in turned_away))
            self._observe(batch, monotonic() - began_seconds)
            self._adapt(outcome, is_behind=is_behind)
        self._committer.add(self._frontier.written(batch))

    def _shipped(self, task: asyncio.Task[None]) -> None:
        batch = self._shipping.pop(task)
        metrics.IN_FLIGHT.labels(self.datasource).set(len(self._shipping))
        self._hold(-min(self._held_bytes, batch.size_bytes + len(batch.rows) * ROW_OVERHEAD_BYTES))
        self._changed.set()

    def _hold(self, more_bytes: int) -> None:
        self._held_bytes += more_bytes
        metrics.HELD_BYTES.labels(self.datasource).set(self._held_bytes)
        self._room.set()

    def _adapt(self, outcome: Outcome, *, is_behind: bool) -> None:
        is_throttled = outcome.was_held_up or outcome.paced_seconds * 1000 > self._batcher.limits.window_ms
        self._policy.note(is_behind=is_behind, is_throttled=is_throttled)
        if outcome.too_large_bytes is not None:
            self._policy.too_large(outcome.too_large_bytes)
            log.warning("a request was too large; batches stay smaller from now on", datasource=self.datasource)
        limits = self._batcher.limits = self._policy.limits
        metrics.TARGET_BYTES.labels(self.datasource).set(limits.max_bytes)
        metrics.WINDOW_SECONDS.labels(self.datasource).set(limits.window_ms / 1000)

    def _observe(self, batch: Batch, seconds: float) -> None:
        metrics.BATCHES.labels(self.datasource, batch.closed_by).inc()
        metrics.BATCH_ROWS.labels(self.datasource).observe(len(batch.rows))
        metrics.BATCH_BYTES.labels(self.datasource).observe(batch.size_bytes)
        metrics.WRITE_SECONDS.labels(self.datasource).observe(seconds)
        now_ms = clock.now_ms()
        oldest_ms = min(row.timestamp for row in batch.rows)
        metrics.LATENCY_SECONDS.labels(self.datasource).observe(max(0, now_ms - oldest_ms) / 1000)
        for row in batch.rows:
            if len(row.headers) > POSITION_HEADERS and (came_ms := read_source_time_ms(row.headers)) is not None:
                metrics.END_TO_END_SECONDS.labels(self.datasource).observe(max(0, now_ms - came_ms) / 1000)

    async def _turn_away(self, record: ConsumerRecord, reason: RejectReason, detail: str) -> None:
        metrics.REJECTED.labels(self.datasource, reason).inc()
        await self._reject(record, reason, detail)


def _now_ms() -> int:
    return int(monotonic() * 1000)
