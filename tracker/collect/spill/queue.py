"""The spill: accepted records wait here on disk while Kafka is away, in the order in which they were accepted.

All disk operations of a spill run in one thread, in the order in which they were requested. Appends that wait share one
synced write, so a hundred requests cost one fsync. A record is safe when its append's future ends, not before.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from tracker import clock
from tracker.collect.metrics import SpillMetrics
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.errors import RetryableError
from tracker.processes.supervised_tasks import SupervisedTasks

#: Records that wait for the disk at most; with more the disk is too slow for the load.
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
#: One synced write.
WRITE_MAX_BYTES: Final = 8 * 1024 * 1024
#: One round of the drain.
PAGE_MAX_RECORDS: Final = 4_000
PAGE_MAX_BYTES: Final = 4 * 1024 * 1024

log = structlog.get_logger()


class SpillFull(RetryableError):  # noqa: N818 - it names the situation
    """There is no room: the spill's limit is reached, or too many records wait for the disk."""


class SpillRefused(RetryableError):  # noqa: N818 - it names the situation
    """The disk has refused the write."""


@dataclass(slots=True, eq=False)
class Ticket:
    """Records on their way into the spill. ``written`` ends when they are on disk, or with SpillRefused."""

    spill: "Spill"
    records: Sequence[SpilledRecord]
    size_bytes: int
    written: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    #: The number of the first record; None until it is on disk.
    first: int | None = None

    def arrived(self) -> None:
        """Delete the records, because Kafka has them after all. Later operations of the spill don't see them."""
        self.spill.discard(self)


class Page(NamedTuple):
    """The oldest records, in order, with their numbers; numbers may be missing in between."""

    begin: int
    numbers: Sequence[int]
    records: Sequence[SpilledRecord]

    def first(self, count: int) -> "Page":
        """Return a page of the first ``count`` of these records."""
        return Page(self.begin, self.numbers[:count], self.records[:count])

    @property
    def end(self) -> int:
        """The number behind the last record."""
        return self.numbers[-1] + 1

    @property
    def size_bytes(self) -> int:
        """The size of the records, as it counts for the spill's limit."""
        return sum(record.size_bytes for record in self.records)


class Spill:
    """A bounded queue on disk. Make it with ``open``, in a running loop."""

    def __init__(
        self,
        store: SpillStore,
        executor: ThreadPoolExecutor,
        max_bytes: int,
        metrics: SpillMetrics,
        tasks: SupervisedTasks,
    ) -> None:
        self._store = store
        self._executor = executor
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._tasks = tasks
        self._queue: deque[Ticket | _Call] = deque()
        self._queued_records = 0
        self._queued_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        #: When the oldest record that waits was accepted; None if none waits.
        self.oldest_ms: int | None = None
        if store.records:
            self.oldest_ms = next(record.accepted_ms for _, record in store.read(store.head))

    @classmethod
    async def open(cls, path: Path, max_bytes: int, metrics: SpillMetrics, tasks: SupervisedTasks) -> "Spill":
        """Open a spill, with the records that an earlier process has left in it.

        Raises:
            ConfigurationError: the directory can't be used.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="spill")
        try:
            store = await asyncio.get_running_loop().run_in_executor(executor, SpillStore, path)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        spill = cls(store, executor, max_bytes, metrics, tasks)
        if spill.records:
            log.warning("a spill was found", path=str(path), records=spill.records, bytes=spill.size_bytes)
        return spill

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._store.path

    @property
    def max_bytes(self) -> int:
        """Its limit."""
        return self._max_bytes

    @property
    def records(self) -> int:
        """Records that wait, those that are still being written included."""
        return self._store.records + self._queued_records

    @property
    def size_bytes(self) -> int:
        """Their size, as it counts for the limit."""
        return self._store.size_bytes + self._queued_bytes

    @property
    def is_refusing(self) -> bool:
        """Whether the disk has refused the last write."""
        return self._store.refused_ms is not None

    def append(self, records: Sequence[tuple[str, bytes, bytes]]) -> Ticket:
        """Append records (topic, key, value) behind all others: either all of them or none.

        Raises:
            SpillFull: there is no room; nothing has been appended.
        """
        now_ms = clock.now_ms()
        spilled = [SpilledRecord(topic, now_ms, key, value) for topic, key, value in records]
        size_bytes = sum(record.size_bytes for record in spilled)
        if self.size_bytes + size_bytes > self._max_bytes:
            raise SpillFull(f"the spill holds {self.size_bytes} bytes of {self._max_bytes} (TRACKER_SPILL_MAX_BYTES)")
        if self._queued_bytes + size_bytes > MAX_QUEUED_BYTES:
            raise SpillFull("too many records wait for the disk")
        ticket = Ticket(self, spilled, size_bytes)
        if self.oldest_ms is None:
            self.oldest_ms = now_ms
        self._queued_records += len(spilled)
        self._queued_bytes += size_bytes
        self._enqueue(ticket)
        return ticket

    def discard(self, ticket: Ticket) -> None:
        """Delete records that have arrived in another way, before all operations that are requested later."""

        def delete(store: SpillStore) -> None:
            if ticket.first is not None:
                count = len(ticket.records)
                store.delete(ticket.first, ticket.first + count, records=count, size_bytes=ticket.size_bytes)

        self._enqueue(_Call(delete))

    async def page(self) -> Page | None:
        """Return the oldest records, or None if nothing waits."""
        page: Page | None = await self._call(_read_page)
        if page is not None:
            self.oldest_ms = page.records[0].accepted_ms
        elif not self._queued_records:
            self.oldest_ms = None
        return page

    async def delete(self, page: Page) -> None:
        """Delete a page: its records have arrived.

        Raises:
            OSError: the disk refuses. They will be sent again, and dropped as duplicates.
        """
        count, size_bytes = len(page.records), page.size_bytes
        await self._call(lambda store: store.delete(page.begin, page.end, records=count, size_bytes=size_bytes))

    async def reclaim(self) -> None:
        """Give back the disk space of deleted records."""
        await self._call(SpillStore.reclaim)

    async def close(self) -> None:
        """Finish the requested operations and close. The records stay on disk."""
        await self._call(SpillStore.close)
        self._executor.shutdown(wait=False)

    async def _call(self, function: "Callable[[SpillStore], Any]") -> Any:
        call = _Call(function)
        self._enqueue(call)
        return await call.done

    def _enqueue(self, job: "Ticket | _Call") -> None:
        self._queue.append(job)
        if self._worker is None or self._worker.done():
            self._worker = self._tasks.run(f"write {self.path.name}", self._work())

    async def _work(self) -> None:
        while self._queue:
            job = self._queue.popleft()
            if isinstance(job, _Call):
                try:
                    result = await self._in_thread(job.function)
                except Exception as error:  # noqa: BLE001 - the caller gets it
                    job.fail(error)
                else:
                    job.succeed(result)
            else:
                await self._write(self._with_followers(job))

    def _with_followers(self, ticket: Ticket) -> list[Ticket]:
        """Return the tickets that share a write: this one, and those right behind it."""
        group, size_bytes = [ticket], ticket.size_bytes
        while self._queue and isinstance(follower := self._queue[0], Ticket):
            size_bytes += follower.size_bytes
            if size_bytes > WRITE_MAX_BYTES:
                break
            group.append(follower)
            self._queue.popleft()
        return group

    async def _write(self, group: list[Ticket]) -> None:
        records = [record for ticket in group for record in ticket.records]
        try:
            first = await self._in_thread(lambda store: store.append(records))
        except Exception as error:  # noqa: BLE001 - after any error the records are not safe, and the callers are told
            for ticket in group:
                ticket.written.set_exception(SpillRefused(f"the disk refuses: {error}"))
                ticket.written.exception()  # there may be no caller any more
            return
        finally:
            self._queued_records -= len(records)
            self._queued_bytes -= sum(ticket.size_bytes for ticket in group)
        self._metrics.records_spilled.inc(len(records))
        for ticket in group:
            ticket.first = first
            first += len(ticket.records)
            if not ticket.written.done():
                ticket.written.set_result(None)

    async def _in_thread(self, function: Callable[[SpillStore], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, self._store)


class _Call:
    """Another operation for the thread."""

    __slots__ = ("done", "function")

    def __init__(self, function: Callable[[SpillStore], Any]) -> None:
        self.function = function
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def succeed(self, result: Any) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # there may be no caller any more


def _read_page(store: SpillStore) -> Page | None:
    numbers: list[int] = []
    records: list[SpilledRecord] = []
    size_bytes = 0
    for number, record in store.read(store.head):
        size_bytes += record.size_bytes
        if records and size_bytes > PAGE_MAX_BYTES:
            break
        numbers.append(number)
        records.append(record)
        if len(records) == PAGE_MAX_RECORDS:
            break
    return Page(store.head, numbers, records) if records else None
