"""The consumer's own thread: fetches from the offsets that leases name, and commits for the group.

Here is the only code that seeks. Before each fetch every leased partition is put at its lease's next offset, and only
leased partitions are asked for.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from tracker.errors import ConfigurationError, InvariantError
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.clients import until_answered
from tracker.streaming import faust_internals
from tracker.streaming.fetching import Fetched, first_records, moved, put_at
from tracker.streaming.lease import LeaseBook
from tracker.streaming.membership import Membership, check_membership, give_up_if_lapsed

log = structlog.get_logger()

#: How long the broker may hold a fetch open. It is also how long a partition that is wanted again may have to wait,
#: because aiokafka has one fetch under way per broker.
FETCH_MAX_WAIT_MS: Final = 50
#: How long fetched records of one partition, until they are taken, may delay the fetches of its broker's other
#: partitions. aiokafka's default is 100 ms; but here a partition waits because we paused it, and others need not.
PREFETCH_BACKOFF_SECONDS: Final = 0.0
#: How often it is looked at whether the group still counts on us: far below its session time-out.
MEMBERSHIP_CHECK_SECONDS: Final = 0.5
#: How long a rebalance may wait for chunks at hand. Far below the rebalance time-out, and a chunk takes milliseconds.
REVOCATION_DRAIN_SECONDS: Final = 2.0

#: Records that are taken at a time. A packed batch of a megabyte may hold millions of them.
MAX_RECORDS_AT_ONCE: Final = 5_000

#: How many single records are taken after a damaged batch was met: more than lie before it in one fetch.
CAREFUL_FETCHES: Final = 20_000


class ChunkConsumerThread(faust_internals.ConsumerThread):
    """The consumer's own thread: the only code that seeks."""

    #: Of the consumer, once it has started.
    membership: Membership
    #: Fetches of one record each that are left, after one that met a damaged batch.
    _careful_fetches = 0

    @property
    def _leases(self) -> LeaseBook:
        return cast("LeaseBook", cast("Any", self.app).leases)

    def configure(self, client: AIOKafkaConsumer) -> None:
        """Let brokers answer a fetch soon, and read every record that a transaction has not aborted."""
        internals.adapt_consumers()
        internals.read_committed(client)
        internals.set_fetch_max_wait_ms(client, FETCH_MAX_WAIT_MS)

    async def on_start(self) -> None:
        """Start the consumer, and let it notice when it is no member any more."""
        bootstrap = cast("Any", self.app).conf.broker_consumer
        await until_answered(", ".join(map(str, bootstrap)), self._start_client)
        consumer = self.consumer_client
        internals.set_prefetch_backoff(consumer, PREFETCH_BACKOFF_SECONDS)
        session_timeout_seconds = cast("Any", self.app).conf.broker_session_timeout
        self.membership = Membership(internals.coordinator_of(consumer), session_timeout_seconds)
        self.add_future(self._watch_membership())
        internals.when_a_task_ends(consumer, self._task_ended)

    async def _start_client(self) -> None:
        try:
            await super().on_start()
        except KafkaError:
            await self.consumer_client.stop()  # the next try makes another
            raise

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """End the process: without its tasks the consumer would get no records, and look healthy."""
        if self.should_stop:
            return
        error = None if task.cancelled() else task.exception()
        error = error or InvariantError(f"it ended without an error: {task.get_coro()}")
        cast("Any", self.app).die("a task of the Kafka consumer has ended", error)

    def join_again_soon(self) -> None:
        """Join the group once more. Safe from any thread."""
        self.thread_loop.call_soon_threadsafe(self.join_again)

    def join_again(self) -> None:
        """Join the group once more, so that all members learn our new metadata. In the consumer's thread only."""
        internals.coordinator_of(self.consumer_client).request_rejoin()

    async def _watch_membership(self) -> None:
        """End all leases as soon as the group may have given their partitions away, and join again.

        aiokafka does so only when the broker is back and says that it has forgotten us, which may take for ever where
        this process reaches only some brokers.
        """
        while not self.should_stop:
            await asyncio.sleep(MEMBERSHIP_CHECK_SECONDS)
            if give_up_if_lapsed(self.membership, self._leases):
                self.join_again()

    async def fetch(
        self, wanted: Mapping[TopicPartition, int], timeout_seconds: float, until: Coroutine[Any, Any, None]
    ) -> Fetched:
        """Return records from exactly these offsets, and for each partition the position after them.

        Where there are none it waits, for the time-out or until ``until`` has ended.
        """
        over = asyncio.Event()  # waited for in the consumer's thread
        ending = asyncio.ensure_future(until)
        fetching = asyncio.ensure_future(self.call_thread(self._fetch, wanted, timeout_seconds, over))
        try:
            await asyncio.wait((ending, fetching), return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                self.thread_loop.call_soon_threadsafe(over.set)
            return await fetching  # type: ignore[no-any-return]
        finally:
            ending.cancel()
            fetching.cancel()

    async def _fetch(
        self, wanted: Mapping[TopicPartition, int], timeout_seconds: float, over: asyncio.Event
    ) -> Fetched:
        consumer = self.consumer_client
        coordinator = internals.coordinator_of(consumer)
        check_membership(coordinator)
        assignment = internals.active_assignment(consumer)
        if assignment is None:
            return {}
        at = put_at(consumer, assignment, wanted)
        # Entered also when nothing is wanted: a consumer that never polls is evicted, however long Tinybird is away.
        with internals.poll(consumer):
            if not at:
                return {}
            try:
                records = await first_records(consumer, list(at), timeout_seconds, over, self._max_records)
            except CorruptRecordException as error:
                self._note_damage(error, at)
                return {}
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                await self._note_lost_place(consumer, error, at)
                return {}
            except KafkaError:
                # A wait for records also raises the errors of the group's coordination.
                if check_membership(coordinator):
                    raise
                return {}
        return moved(assignment, at, records)

    def _note_damage(self, error: CorruptRecordException, at: Mapping[TopicPartition, int]) -> None:
        """Take single records from now on, until it is one that lies in the damaged batch itself.

        aiokafka gives none of the records before it either, as long as it is asked for many.

        Raises:
            ConfigurationError: it is; the message says what to do.
        """
        if self._careful_fetches:
            damaged = [
                f"{tp.topic}-{tp.partition} at offset {offset}" for tp, offset in at.items() if str(tp) in str(error)
            ]
            raise ConfigurationError(
                f"the broker's copy of {', '.join(damaged)} is damaged ({error}): make another replica its leader, or "
                "see tracker skip"
            )
        log.warning("a fetched batch is damaged; looking for its place", error=str(error))
        self._careful_fetches = CAREFUL_FETCHES

    @property
    def _max_records(self) -> int:
        if not self._careful_fetches:
            return MAX_RECORDS_AT_ONCE
        self._careful_fetches -= 1
        return 1

    async def _note_lost_place(
        self, consumer: AIOKafkaConsumer, error: KafkaError, at: Mapping[TopicPartition, int]
    ) -> None:
        """Have all leases opened anew where retention has overtaken one: opening it logs how many records are lost.

        An error about another offset is left over from before the partition was put at its lease's.

        Raises:
            ConfigurationError: the log ends before the offset, so it is not the log that was read before.
        """
        lost = error.args[0] if isinstance(error, OffsetOutOfRangeError) else {}
        for tp, offset in lost.items():
            if at.get(tp) != offset:
                continue
            first = (await consumer.beginning_offsets([tp]))[tp]
            if offset > first:
                raise ConfigurationError(
                    f"{tp.topic}-{tp.partition} has no offset {offset}, and everything before it has been read: the "
                    "topic was deleted and made again, or a broker lost its disk; see docs/production-kafka.md"
                )
            log.warning("retention has overtaken us; all leases are opened anew", partition=str(tp), offset=offset)
            self._leases.revoke_all()
            self.join_again()

    async def commit_group(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
        """Commit for the group; False if the partitions are no longer ours, which does no harm."""
        return await self.call_thread(self._commit_group, offsets)  # type: ignore[no-any-return]

    async def _commit_group(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
        try:
            await self.consumer_client.commit(dict(offsets))
        except (CommitFailedError, IllegalStateError) as error:
            log.info("group commit refused; the partitions have moved on", error=str(error))
            return False
        return True

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return what the group has committed, straight from the broker; a partition without is left out."""
        return await self.call_thread(self._committed, partitions)  # type: ignore[no-any-return]

    async def _committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        offsets = await internals.committed_offsets(self.consumer_client, partitions)
        return {tp: found for tp, found in offsets.items() if found.offset >= 0}

    async def log_starts(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition's log still has."""
        return await self.call_thread(self.consumer_client.beginning_offsets, partitions)  # type: ignore[no-any-return]

    async def log_ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after the last that each partition's log has."""
        return await self.call_thread(self.consumer_client.end_offsets, partitions)  # type: ignore[no-any-return]

    async def is_answered(self) -> bool:
        """Return whether a broker answers on the connections that the consumer has, or lets it make one.

        It does not queue behind the thread's other calls: those may be what waits for an answer.
        """
        asked = asyncio.run_coroutine_threadsafe(internals.is_answered(self.consumer_client), self.thread_loop)
        return await asyncio.wrap_future(asked)


class DrainingListener(faust_internals.RebalanceListener):
    """Finishes the chunks at hand before partitions are given up, as long as they are still ours."""

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> Awaitable[None]:
        """Begin a rebalance: at once if the group has forgotten us, else once the leases are idle."""
        return self._give_up(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin a generation, in which the group counts on us from now on."""
        cast("ChunkConsumerThread", self.thread).membership.joined()
        await super().on_partitions_assigned(assigned)

    async def _give_up(self, revoked: list[TopicPartition]) -> None:
        thread = cast("ChunkConsumerThread", self.thread)
        app = cast("Any", thread.app)
        if revoked and thread.membership.is_known:
            await _drain(app.leases, app.loop)
        await super().on_partitions_revoked(revoked)


async def _drain(leases: LeaseBook, main_loop: asyncio.AbstractEventLoop) -> None:
    """Wait in the consumer's thread until the main loop has nothing of a live lease in hand."""
    leases.pause_fetching()
    idle = asyncio.run_coroutine_threadsafe(leases.wait_until_idle(), main_loop)
    try:
        await asyncio.wait_for(asyncio.wrap_future(idle), REVOCATION_DRAIN_SECONDS)
    except TimeoutError:
        log.info("a rebalance does not wait for chunks that take long; the next owner folds them again")
