"""The chunk transport: Faust's aiokafka driver, with a fetch loop that obeys leases and yields chunks.

Faust's own loop hands agents one record at a time (about 300 CPU seconds per million), seeks to the group's committed
offsets and remembers read positions across revocations, each of which has lost records. Here the lease alone says
where to read: before each fetch every leased partition is put at its lease's next offset, and records of a lease that
died meanwhile are dropped. The committed offset is for lag tools.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from tracker.errors import TrackerError
from tracker.kafka.clients import until_answered
from tracker.streaming import faust_internals
from tracker.streaming.chunk import Chunk, cut_chunks
from tracker.streaming.consumer_thread import ChunkConsumerThread, DrainingListener
from tracker.streaming.lease import Lease, LeaseBook

#: How long one turn of the fetch loop waits for records or for a lease.
POLL_TIMEOUT_SECONDS: Final = 0.5

#: The chunk travels where Faust lets an object through untouched: in the message's headers.
_CHUNK_HEADER: Final = "chunk"


def chunk_of(message: ConsumerMessage) -> Chunk:
    """Return the chunk that a message of this transport carries."""
    return cast("Mapping[str, Chunk]", message.headers)[_CHUNK_HEADER]


class ChunkConsumer(faust_internals.Consumer):
    """A Faust consumer that yields chunks of leased partitions. Its app is a ``ChunkApp``."""

    app: Any
    RebalanceListener = DrainingListener

    def new_thread(self) -> ChunkConsumerThread:
        """Return the thread that is to own the Kafka consumer."""
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _leases(self) -> LeaseBook:
        return cast("LeaseBook", self.app.leases)

    @property
    def thread(self) -> ChunkConsumerThread:
        """The thread that owns the Kafka consumer."""
        return cast("ChunkConsumerThread", self.own_thread)

    async def perform_seek(self) -> None:
        """Do nothing: leases say where to read, never the group's committed offset."""

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: leases count their chunks in flight."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing: leases count their chunks in flight."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust logs an error for each partition that it has not fetched for minutes.

        Nobody fetches the changelog's partitions here, and none while there is no lease; lag and readiness tell more.
        """

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 - Faust's
        """Yield one message per chunk. ``timeout`` is in seconds."""
        wanting = await self._leases.wait_for_wanting(timeout)
        if self.should_stop:
            return
        for lease in wanting:
            if lease.next_offset in lease.skips:  # without fetching it: maybe the fetch itself fails
                for chunk in cut_chunks(lease, (), lease.next_offset + 1, self.app.chunk_max_records):
                    yield TP(*lease.tp), self._chunk_message(lease, chunk)
        by_partition = {lease.tp: lease for lease in wanting if lease.wants_records}
        wanted = {tp: lease.next_offset for tp, lease in by_partition.items()}
        # A busy partition that wants more records must not wait until idle ones get some.
        fetched = await self.thread.fetch(wanted, timeout, self._leases.wait_for_others(wanting))
        for tp, (records, position) in fetched.items():
            lease = by_partition[tp]
            if lease.alive:
                for chunk in cut_chunks(lease, records, position, self.app.chunk_max_records):
                    yield TP(*tp), self._chunk_message(lease, chunk)

    def _chunk_message(self, lease: Lease, chunk: Chunk) -> ConsumerMessage:
        tp = TP(lease.topic, lease.partition)
        return ConsumerMessage(
            tp.topic, tp.partition, chunk.begin, 0.0, 0, cast("Any", {_CHUNK_HEADER: chunk}), None, b"", None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def feed_agents(self, fetcher: Any) -> None:
        """Feed the agents until the consumer or the fetcher stops. Keeps no read positions: the leases have them."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(POLL_TIMEOUT_SECONDS):
                    if chunk_of(message).lease.alive:
                        await self.callback(message)
        except TrackerError as error:
            self.app.die("reading the log failed", error)  # here, because Faust would print where it happened
        except asyncio.CancelledError:
            # By a stop in the middle of a rebalance: Faust would take that for a crash.
            if not self.app.should_stop:
                raise
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise


class PatientProducer(driver.Producer):
    """Faust's own producer, which starts however long Kafka is away. We send nothing with it."""

    async def on_start(self) -> None:
        """Start the client."""
        await until_answered(", ".join(map(str, self.app.conf.broker_producer)), super().on_start)


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer
    Producer = PatientProducer
