"""The checkpoint: it makes a chunk's results durable, in the one order that loses and doubles none (ARCHITECTURE.md).

1. fold the chunk in memory
2. send its outputs and its forwarded records, and wait until all are acked
3. send the changed states and W to the changelog and wait
4. write states, W and the changelog position to RocksDB in one atomic batch
5. now and then, commit W + 1 for the group (``group_commit``)

Killed before 3, the chunk is folded again from the same state and gives the same outputs, which consumers know by
their source position. Killed after 3, the states say that they have had it. A lease that died is noticed before each
effect; then the chunk is dropped whole.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics.catalog import CHANGELOG, DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE, USAGE
from topics.dead_letter import DeadLetter
from topics.headers import SOURCE_OFFSET, SOURCE_TIME_MS
from tracker.dead_letters.floods import Floods
from tracker.errors import DiskFullError, InvariantError, StateDamagedError
from tracker.kafka.clients import RETRY_SECONDS, is_passing
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.process import metrics
from tracker.process.forwards import Forwarder
from tracker.process.lease import SessionLease
from tracker.sessions.layouts import USAGE_KEY, WATERMARK_KEY, offset_of
from tracker.sessions.outputs import FoldResult
from tracker.streaming.chunk import Chunk
from tracker.table.changelog import read_to_end
from tracker.table.changes import changed_rows
from tracker.table.store import Row, SessionStore

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

log = structlog.get_logger()


class Checkpoint:
    """Folds chunks and makes them count."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        new_reader: Callable[[], AIOKafkaConsumer],
        topic_prefix: str,
        floods: Floods,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._tracing = tracing
        self._floods = floods
        self._producer = producer
        self._new_reader = new_reader
        self._forwarder = Forwarder(producer, SOURCE.name(topic_prefix))
        self._changelog = CHANGELOG.name(topic_prefix)
        self._sequenced = SEQUENCED.name(topic_prefix)
        self._sessions = SESSIONS.name(topic_prefix)
        self._dead_letters = DEAD_LETTERS.name(topic_prefix)
        self._usage = USAGE.name(topic_prefix)

    async def run(self, chunk: Chunk) -> None:
        """Take one chunk through all steps, or drop it whole if its lease dies on the way.

        Raises:
            InvariantError: the chunk does not begin right after W: something was skipped or doubled.
            TooManyDeadLetters: most of it can't be taken, and the deployment wants to stop then; nothing is written.
            KafkaError: an ack did not come. Nothing has been committed; the process stops and folds the chunk again.
        """
        lease = chunk.lease
        if not isinstance(lease, SessionLease):
            raise InvariantError(f"{lease!r} is no session lease")
        if chunk.begin != lease.watermark + 1:
            raise InvariantError(f"{lease!r}: chunk begins at {chunk.begin}, but W is {lease.watermark}")
        steps = metrics.StepTimes()
        with steps.step("fold"):
            result = lease.fold.fold(chunk.records)
        _say_when_it_came(chunk, result)
        records = len(chunk.records)
        if self._tracing is None:
            chunk.let_go()
        for output in result.dead_letters:
            self._floods.note(DeadLetter.model_validate_json(output.value or b""))
        if not await self._effects(lease, result, chunk.end - 1, steps):
            metrics.CHUNKS_DROPPED.inc()
            return
        lease.watermark = chunk.end - 1
        self._floods.passed(lease.topic, lease.partition, chunk.end)
        if lease.contested:
            lease.take_in(
                [*result.changed, *result.pages, USAGE_KEY]
            )  # not ours but the store's: somebody else's may have won
        else:
            lease.table.keep(result.changed)
        lease.open_sessions += result.counts.opened - sum(result.counts.closed.values())
        lease.known_sessions += result.counts.rows_added - result.counts.rows_removed
        metrics.observe_chunk(records, result.counts)
        if self._tracing is not None:
            self._tracing.checkpointed(chunk.records, steps.seconds, perf_counter() - steps.began)

    async def _effects(self, lease: SessionLease, result: FoldResult, watermark: int, steps: metrics.StepTimes) -> bool:
        if not lease.alive:
            return False
        with steps.step("outputs"):
            await self._send_outputs(lease.partition, result)
        result.events.clear()  # some megabytes, while three other chunks wait for their acks
        result.sessions.clear()
        if not lease.alive:
            return False
        rows = [*overwritten_rows(lease.store, result), *changed_rows(result, watermark, lease.mark)]
        with steps.step("changelog"):
            written = await send_batches(self._producer, self._changelog, lease.partition, map(_changelog_record, rows))
        if not lease.alive:
            return False
        end = contiguous_end(lease.store.position, written)
        if end is None:
            return await self._fill_hole(lease)
        with steps.step("store"):
            await self._write(lease, rows, end)
        return lease.alive

    async def _write(self, lease: SessionLease, rows: Sequence[Row], end: int) -> None:
        """Write to the store, however long the disk is full; stop trying if the lease dies meanwhile."""
        while lease.alive:
            try:
                if lease.contested:
                    lease.store.merge(rows, end)  # it notes the rows that a stale write covers
                else:
                    lease.store.write(rows, end)
                    lease.store.overwritten.clear()
                lease.waits_for_room = False
            except DiskFullError as error:
                await _wait_for_room(lease, error)
            else:
                return

    async def _send_outputs(self, partition: int, result: FoldResult) -> None:
        outputs = (
            (self._sequenced, result.events),
            (self._sessions, result.sessions),
            (self._dead_letters, result.dead_letters),
            (self._usage, result.usage),
        )
        await asyncio.gather(
            *(send_batches(self._producer, topic, partition, records) for topic, records in outputs if records),
            self._forwarder.send(result.forwards),
        )

    async def _fill_hole(self, lease: SessionLease) -> bool:
        """Someone else wrote to our changelog: read all that we have not, our own rows among it, and merge it."""
        log.warning("a hole in the changelog: another worker wrote; merging", partition=lease.partition)
        metrics.CHANGELOG_HOLES.inc()
        # From now on our own rows are merged, too: the other writer may be ahead of us, and we may be the zombie.
        lease.contested = True
        while lease.alive:
            try:
                async with self._new_reader() as reader:
                    async for _ in read_to_end(
                        reader,
                        self._changelog,
                        {lease.partition: lease.store},
                        is_wanted=lambda: lease.alive,
                        on_merged=lambda _, keys: lease.take_in(keys),
                    ):
                        return lease.alive
            except DiskFullError as error:
                await _wait_for_room(lease, error)
            except KafkaError as error:
                if not is_passing(error):
                    raise
                log.warning("the changelog can't be read; trying again", partition=lease.partition, error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
        return False


def _say_when_it_came(chunk: Chunk, result: FoldResult) -> None:
    """Put the log's time for the chunk onto its first outputs: one header a chunk measures the way to Tinybird."""
    for outputs in (result.events, result.sessions):
        if outputs:
            outputs[0].headers.append((SOURCE_TIME_MS, b"%d" % chunk.records[0].timestamp))


async def _wait_for_room(lease: SessionLease, error: DiskFullError) -> None:
    """Wait a moment and open the store again: RocksDB takes nothing more after a write that failed.

    Raises:
        StateDamagedError: the store has lost rows; only a recovery helps.
    """
    log.error("the disk is full; the partition waits", partition=lease.partition, error=str(error))
    lease.waits_for_room = True
    await asyncio.sleep(RETRY_SECONDS)
    if not lease.alive:
        return  # another lease has the store by now, or it is closed: opened here, no other could open it
    position = lease.store.position
    with suppress(DiskFullError):
        lease.store.reopen()
    if lease.store.position != position:
        raise StateDamagedError(f"{lease!r}: the store was at {position} and came back at {lease.store.position}")


def contiguous_end(position: int, written: list[tuple[int, int]]) -> int | None:
    """Return the position after batches (base offset, count) that follow each other from ``position``, or None."""
    for base, count in written:
        if base != position:
            return None
        position += count
    return position


def overwritten_rows(store: SessionStore, result: FoldResult) -> Iterator[Row]:
    """Yield the rows that a stale write follows in the changelog: written once more, the true version is the last.

    Who reads merges, but compaction keeps the last version only.
    """
    watermark, _ = store.watermark() if store.overwritten else (-1, None)
    for key in sorted(store.overwritten):
        if key not in result.changed and key != WATERMARK_KEY:
            value = store.get(key)
            yield key, watermark if value is None else offset_of(value), value


def _changelog_record(row: Row) -> ProducerRecord:
    key, offset, value = row
    return key, value, [] if value is not None else [(SOURCE_OFFSET, b"%d" % offset)]
