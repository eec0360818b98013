"""Planted bugs: small mistakes that somebody could make, each put into one run's parts.

Production code knows nothing of them.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec import structs

from tests.simulation.parts import Parts
from topics.catalog import CHANGELOG
from tracker import clock
from tracker.kafka.record_batches import send_batches
from tracker.process import checkpoint as checkpoint_module
from tracker.process.checkpoint import Checkpoint
from tracker.process.lease import SessionLease
from tracker.process.metrics import StepTimes
from tracker.process.recovery import SessionRecovery
from tracker.sessions import fold as fold_module
from tracker.sessions import outbox as outbox_module
from tracker.sessions.fold import PartitionFold
from tracker.sessions.layouts import WATERMARK_KEY
from tracker.sessions.outputs import FoldResult
from tracker.sessions.rows import session_row
from tracker.sessions.state import FORGOTTEN, SessionState
from tracker.sessions.working_table import Row as TableRow
from tracker.sessions.working_table import WorkingTable
from tracker.sink.lease import SinkLeaseOpener
from tracker.sink.pipeline import Pipeline
from tracker.sink.positions import SeenPositions
from tracker.streaming.chunk import Chunk
from tracker.streaming.lease import Lease, LeaseBook
from tracker.table.changes import changed_rows
from tracker.table.store import Row, SessionStore


class ChangelogBeforeOutputs(Checkpoint):
    async def _effects(self, lease: SessionLease, result: FoldResult, watermark: int, steps: StepTimes) -> bool:
        send_outputs, self._send_outputs = self._send_outputs, _nothing  # type: ignore[method-assign, assignment]
        try:
            done = await super()._effects(lease, result, watermark, steps)
        finally:
            self._send_outputs = send_outputs  # type: ignore[method-assign]
        if done:
            await self._send_outputs(lease.partition, result)
        return done


async def _nothing(*_: Any) -> None:
    return None


class StoreBeforeChangelog(Checkpoint):
    async def _effects(self, lease: SessionLease, result: FoldResult, watermark: int, steps: StepTimes) -> bool:
        rows = list(changed_rows(result, watermark, lease.fold.mark))
        lease.store.write(rows, lease.store.position)
        return await super()._effects(lease, result, watermark, steps)


class AckOnException(Checkpoint):
    async def run(self, chunk: Chunk) -> None:
        try:
            await super().run(chunk)
        except KafkaError:
            assert isinstance(chunk.lease, SessionLease)
            chunk.lease.watermark = chunk.end - 1


class StatesOverMergedHole(Checkpoint):
    _met_hole = False

    async def _fill_hole(self, lease: SessionLease, *rest: Any) -> bool:
        self._met_hole = True
        return await super()._fill_hole(lease, *rest)

    async def _effects(self, lease: SessionLease, result: FoldResult, watermark: int, steps: StepTimes) -> bool:
        self._met_hole = False
        done = await super()._effects(lease, result, watermark, steps)
        if done and self._met_hole:
            rows = [row for row in changed_rows(result, watermark, lease.fold.mark) if row[0] != WATERMARK_KEY]
            lease.store.write(rows, lease.store.position)
        return done


class LastWriteWins(SessionStore):
    def merge(self, rows: Iterable[Row], position: int) -> list[bytes]:
        taken = list(rows)
        self.write(taken, position)
        return [key for key, _, _ in taken]


class LeaseOutlivesRevocation(LeaseBook):
    def revoke_all(self) -> None:
        self._paused = False
        self.generation += 1
        self._leases.clear()


class DeadlinesNotRebuilt(SessionRecovery):
    def _lease(self, *args: Any) -> SessionLease:
        lease = super()._lease(*args)
        lease.fold.deadlines.load(())
        return lease


def _with_fold(fold: type[PartitionFold]) -> type[SessionRecovery]:
    class OtherFold(SessionRecovery):
        def _lease(self, *args: Any) -> SessionLease:
            lease = super()._lease(*args)
            lease.fold.__class__ = fold
            return lease

    return OtherFold


class WallClockFold(PartitionFold):
    def fold(self, records: Any) -> FoldResult:
        self.stream_time_ms = max(self.stream_time_ms, clock.now_ms())
        return super().fold(records)


class StreamTimeLost(SessionRecovery):
    def _lease(self, *args: Any) -> SessionLease:
        lease = super()._lease(*args)
        lease.fold.stream_time_ms = 0
        return lease


class RemovedNotForgotten(PartitionFold):
    """A stub that has had its time is deleted, and leaves no offset behind."""

    def _close_passed(self) -> None:
        super()._close_passed()
        for row in self._result.changed.values():
            if row.state is not None and row.state.close_reason == FORGOTTEN:
                row.state = None


class StatesWithoutOffset(WorkingTable):
    __slots__ = ()

    def has_had_it(self, row: TableRow) -> bool:
        return False


class TableOfStatesWithoutOffset(SessionRecovery):
    def _lease(self, *args: Any) -> SessionLease:
        lease = super()._lease(*args)
        lease.fold._table.__class__ = StatesWithoutOffset
        return lease


class ClosesInHeapOrder(PartitionFold):
    def _close_passed(self) -> None:
        # The index is right, but nobody sorts by the true deadlines.
        push, pop = fold_module.heappush, fold_module.heappop
        fold_module.heappush, fold_module.heappop = list.append, lambda due: due.pop(0)
        try:
            super()._close_passed()
        finally:
            fold_module.heappush, fold_module.heappop = push, pop


class CommitBefore200(Pipeline):
    async def _ship(self, batch: Any, *, is_behind: bool) -> None:
        live = [covered for covered in batch.covers.values() if covered.lease.alive]
        if live:
            await self._committer._commit(live)
        await super()._ship(batch, is_behind=is_behind)


class FilterLost(SinkLeaseOpener):
    async def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        async for lease in super().open_leases(partitions, generation):
            lease.seen = SeenPositions()  # type: ignore[attr-defined]
            yield lease


def _one_event_at_the_least(key: str, state: SessionState, offset: int, *, is_late: bool = False) -> bytes:
    return session_row(key, structs.replace(state, sequence=max(1, state.sequence)), offset, is_late=is_late)


def _resets_the_timeout(fold: PartitionFold, row: TableRow, workspace_id: str, record: Any, source: Any) -> None:
    record.data.timeout_seconds = record.data.timeout_seconds or fold._rules.timeout_ms // 1000
    _session(fold, row, workspace_id, record, source)


def _closes_what_has_no_workspace(fold: PartitionFold, row: TableRow, workspace_id: str) -> None:
    is_of_none = row.state is not None and not row.state.workspace_id
    _expire(fold, row, "" if is_of_none else workspace_id)


_session, _expire = PartitionFold._session, PartitionFold._expire


def _from_committed_offset(simulation: Any) -> Parts:
    class FromCommittedOffset(SessionRecovery):
        def _lease(self, tp: TopicPartition, *args: Any) -> SessionLease:
            lease = super()._lease(tp, *args)
            committed = simulation.workers.committed.get(tp)
            lease.next_offset = committed.offset if committed is not None else 0
            lease.watermark = lease.next_offset - 1
            return lease

    return Parts(recovery=FromCommittedOffset)


def _past_the_hole(position: int, written: list[tuple[int, int]]) -> int:
    return max([position, *(base + count for base, count in written)])


_drawn = itertools.count()


def _drawn_id(*_: Any) -> str:
    return f"drawn-{next(_drawn)}"


def _changelog_unawaited(simulation: Any) -> Parts:
    """The changelog is sent, but nobody waits for its ack; the store is written with the place it would have."""

    class Unawaited(Checkpoint):
        async def _effects(self, lease: SessionLease, result: FoldResult, watermark: int, steps: StepTimes) -> bool:
            if not lease.alive:
                return False
            await self._send_outputs(lease.partition, result)
            rows = list(changed_rows(result, watermark, lease.fold.mark))
            sending = send_batches(
                self._producer, CHANGELOG.name("tracker."), lease.partition, map(_changelog_record, rows)
            )
            task = asyncio.ensure_future(sending)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            lease.store.write(rows, lease.store.position + len(rows))
            return True

    return Parts(checkpoint=Unawaited)


_changelog_record = checkpoint_module._changelog_record


def _parts(**replaced: Any) -> Callable[[Any], Parts]:
    return lambda _: Parts(**replaced)


def _rules(*patch: Any) -> Callable[[Any], Parts]:
    return lambda _: Parts(patches=(patch,), are_rules=True)  # type: ignore[arg-type]


def _never_again(*_: Any) -> Iterator[Row]:
    return iter(())


#: What each bug is, and how to build a run with it.
PLANTED: dict[str, Callable[[Any], Parts]] = {
    "the changelog is written before the outputs": _parts(checkpoint=ChangelogBeforeOutputs),
    "the last write wins, not the highest offset": _parts(store=LastWriteWins),
    "folding goes on from the group's committed offset": _from_committed_offset,
    "the fold reads the wall clock": _parts(recovery=_with_fold(WallClockFold)),
    "a chunk whose ack did not come counts as done": _parts(checkpoint=AckOnException),
    "the position moves past a hole": _parts(patches=((checkpoint_module, "contiguous_end", _past_the_hole),)),
    "a chunk's states are written over a merged hole": _parts(checkpoint=StatesOverMergedHole),
    "a lease outlives its revocation": _parts(lease_book=LeaseOutlivesRevocation),
    "the stream time is not written down with W": _parts(recovery=StreamTimeLost),
    "a closed session's key is deleted at once": _parts(recovery=_with_fold(RemovedNotForgotten)),
    "what a stale write has followed is not written again": _parts(
        patches=((checkpoint_module, "overwritten_rows", _never_again),)
    ),
    "the store is written before the changelog": _parts(checkpoint=StoreBeforeChangelog),
    "nobody waits for the changelog's ack": _changelog_unawaited,
    "states don't know the offset that they have had": _parts(recovery=TableOfStatesWithoutOffset),
    "the deadlines are not rebuilt after a recovery": _parts(recovery=DeadlinesNotRebuilt),
    "sessions close in the order of the index": _parts(recovery=_with_fold(ClosesInHeapOrder)),
    "an id is drawn, not derived": _parts(patches=((fold_module, "missing_event_id", _drawn_id),)),
    "the first row of a session counts an event": _rules(outbox_module, "session_row", _one_event_at_the_least),
    "a second session record resets the time-out": _rules(PartitionFold, "_session", _resets_the_timeout),
    "an expire of any workspace closes a session of none": _rules(
        PartitionFold, "_expire", _closes_what_has_no_workspace
    ),
    "the sink commits before Tinybird has confirmed": _parts(pipeline=CommitBefore200),
    "the sink's duplicate filter does not survive a restart": _parts(sink_opener=FilterLost),
}
