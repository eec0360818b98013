"""Concurrent requests share batches: records gather for a moment, then go out as one batch for each partition.

One timer and one future serve a whole batch. Record by record, each request would need its own.
The batches of a partition go out in the order in which their records came. The next one is handed to the Kafka producer
only when the one before is acknowledged, so a batch that is refused has no newer one behind it in Kafka.

A producer is never asked to forget a batch. aiokafka's idempotent producer repeats it until its fate is known, and the
broker drops repetitions by their number. A late batch is late, but it is there once and in its place.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from topics.headers import Headers
from tracker.collect.delivery.handover import BatchEvent, BatchState
from tracker.collect.delivery.record_batch import NO_HEADERS, PendingBatch, RecordBatch, TopicRecord
from tracker.collect.metrics import DeliveryMetrics
from tracker.collect.spill.store import SpilledRecord
from tracker.errors import InvariantError
from tracker.kafka.clients import partition_for_key
from tracker.processes.supervised_tasks import SupervisedTasks

#: Records that come within this time share a batch.
LINGER_SECONDS: Final = 0.002
#: Records without an answer from Kafka that a sender holds at most, whether a request still waits for them or not.
MAX_UNSETTLED_RECORDS: Final = 20_000
MAX_UNSETTLED_BYTES: Final = 64 * 1024 * 1024
#: Keys whose partition is remembered.
PARTITION_CACHE_KEYS: Final = 32_768


class _PartitionQueue:
    """The batches of one partition: those that wait, and the one that the Kafka producer has."""

    __slots__ = ("partition", "sending", "shipping", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[PendingBatch] = deque()
        self.sending: PendingBatch | None = None
        self.shipping: asyncio.Task[None] | None = None


class BatchSender:
    """Gathers records into batches and sends them through one started Kafka producer.

    ``on_trouble`` is called with the reason when a batch has waited for ``ack_timeout_seconds``, and when the producer
    has broken. It is expected to call ``take_back``.

    The number of partitions is the one at the start. If partitions are added, the processor forwards the records that
    are in the wrong one, until the collector is restarted.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        metrics: DeliveryMetrics,
        tasks: SupervisedTasks,
        *,
        ack_timeout_seconds: float,
        on_trouble: Callable[[str], None],
    ) -> None:
        self.producer = producer
        self._metrics = metrics
        self._tasks = tasks
        self._ack_timeout_seconds = ack_timeout_seconds
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._by_topic: dict[str, list[_PartitionQueue]] = {}
        self._all: list[_PartitionQueue] = []
        self._touched: set[_PartitionQueue] = set()
        self._is_held = False
        self._unsettled_records = 0
        self._unsettled_bytes = 0
        #: The error after which the producer can't be used any more, if there was one.
        self.broken: BaseException | None = None

    def knows(self, topic: str) -> bool:
        """Whether the topic's partitions are known."""
        return topic in self._by_topic

    def learn(self, topic: str, partitions: int) -> None:
        """Add a topic that it can send to."""
        self._by_topic[topic] = [_PartitionQueue(topic, number) for number in range(partitions)]
        self._all += self._by_topic[topic]

    @property
    def is_full(self) -> bool:
        """Whether it holds as many records without an answer as it may."""
        return self._unsettled_records >= MAX_UNSETTLED_RECORDS or self._unsettled_bytes >= MAX_UNSETTLED_BYTES

    def add(self, records: Iterable[TopicRecord], headers: Headers) -> "list[asyncio.Future[None]]":
        """Put records into the next batches of their partitions.

        Returns:
            The future of each of these batches, once. It ends when the batch is safe, or has failed.
        """
        safe: dict[asyncio.Future[None], None] = {}
        if not self._touched:
            self._loop.call_later(LINGER_SECONDS, self._flush)
        place: tuple[str, bytes] | None = None
        for record in records:
            topic, key, value = record
            if place is None or key != place[1] or topic != place[0]:  # most records of a request are of one session
                place = topic, key
                queues = self._by_topic[topic]
                queue = queues[_partition_for_key(key, len(queues))]
                self._touched.add(queue)
            batch = queue.waiting[-1] if queue.waiting else None
            if batch is None or not batch.add(record, headers):
                batch = self._new_batch()
                queue.waiting.append(batch)
                if not batch.add(record, headers):
                    raise InvariantError("a record that fits the topic does not fit an empty batch")
            self._unsettled_records += 1
            self._unsettled_bytes += len(key) + len(value)
            safe[batch.safe] = None
        return list(safe)

    def hold(self) -> None:
        """Gather records, but send none until ``release``: older ones go first."""
        self._is_held = True

    def release(self) -> None:
        """Send the gathered records, and from now on every record at once."""
        self._is_held = False
        self._touched.update(queue for queue in self._all if queue.waiting)
        self._flush()

    def take_back(self) -> list[PendingBatch]:
        """Return all batches that requests still wait for, each partition's in their order.

        The batches that the Kafka producer has are among them; it goes on trying to send those. The others leave the
        sender.
        """
        taken = [queue.sending for queue in self._all if queue.sending is not None]
        taken = [batch for batch in taken if batch.state is BatchState.SENDING]
        for queue in self._all:
            for batch in queue.waiting:
                self._forget(batch)
                taken.append(batch)
            queue.waiting.clear()
        for batch in taken:
            batch.deadline.cancel()
        return taken

    async def settled(self) -> None:
        """Wait until Kafka has answered everything that the producer was handed.

        Raises:
            KafkaError: the producer has broken.
        """
        while shipping := [queue.shipping for queue in self._all if queue.shipping is not None]:
            await asyncio.wait(shipping)
        if self.broken is not None:
            raise KafkaError(repr(self.broken))

    async def send(self, records: Sequence[SpilledRecord]) -> int:
        """Send the first of these records, as many as make one batch for each partition, past all that is gathered.

        Returns:
            How many there were. All of them are acknowledged, however long that has taken.

        Raises:
            KafkaError: the producer has broken. Some may have arrived.
        """
        batches: dict[_PartitionQueue, RecordBatch] = {}
        sent = 0
        for record in records:
            queues = self._by_topic[record.topic]
            queue = queues[_partition_for_key(record.key, len(queues))]
            if queue not in batches:
                batches[queue] = RecordBatch(self.producer.create_batch())
            if not batches[queue].add((record.topic, record.key, record.value), NO_HEADERS):
                break
            sent += 1
        if not sent:
            raise InvariantError("a record that was accepted does not fit an empty batch")
        try:
            acks = [await self._hand_over(queue, batch) for queue, batch in batches.items()]
            for result in await asyncio.gather(*acks, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        except KafkaError as error:
            self.broken = error
            raise
        return sent

    def stop_shipping(self) -> None:
        """Stop waiting for Kafka's answers: the producer is about to be closed."""
        for queue in self._all:
            if queue.shipping is not None:
                queue.shipping.cancel()

    def _new_batch(self) -> PendingBatch:
        deadline = self._loop.call_later(self._ack_timeout_seconds, self._on_trouble, "Kafka does not acknowledge")
        return PendingBatch(self.producer.create_batch(), deadline)

    def _flush(self) -> None:
        touched, self._touched = self._touched, set()
        self._metrics.records_unsettled.set(self._unsettled_records)  # here, not for each record: it takes a lock
        # All partitions at once, so that their batches share a request to the broker.
        for queue in touched:
            if queue.shipping is None and queue.waiting:
                queue.shipping = self._loop.create_task(self._ship(queue))

    async def _ship(self, queue: _PartitionQueue) -> None:
        """Send the batches of a partition, one after the other. A task for each batch: it reports its bugs itself."""
        try:
            while queue.waiting and not self._is_held and self.broken is None:
                queue.sending = batch = queue.waiting.popleft()
                batch.apply(BatchEvent.HANDED_OVER)
                try:
                    await (await self._hand_over(queue, batch))
                except KafkaError as error:
                    self._refused(queue, batch, error)
                else:
                    self._acked(batch)
                queue.sending = None
        except Exception as error:  # noqa: BLE001 - it is reported
            self._tasks.report(f"sending to {queue.topic}[{queue.partition}]", error)
        finally:
            queue.shipping = None

    async def _hand_over(self, queue: _PartitionQueue, batch: RecordBatch) -> "asyncio.Future[Any]":
        ack: asyncio.Future[Any] = await self.producer.send_batch(batch.builder, queue.topic, partition=queue.partition)
        return ack

    def _acked(self, batch: PendingBatch) -> None:
        self._forget(batch)
        if batch.state is BatchState.SENDING:
            self._metrics.records_acked.inc(len(batch.records))
            self._metrics.produce_seconds.observe(time.monotonic() - batch.started)
        batch.apply(BatchEvent.ACKED)

    def _refused(self, queue: _PartitionQueue, batch: PendingBatch, error: KafkaError) -> None:
        """Stop using the producer: the refused batch leaves a hole in its sequence numbers."""
        self.broken = self.broken or error
        batch.apply(BatchEvent.REFUSED)
        if batch.state is BatchState.WAITING:
            queue.waiting.appendleft(batch)
        else:
            self._forget(batch)
        queue.sending = None
        self._on_trouble(f"Kafka refuses: {type(error).__name__}")

    def _forget(self, batch: RecordBatch) -> None:
        self._unsettled_records -= len(batch.records)
        self._unsettled_bytes -= batch.size_bytes
        self._metrics.records_unsettled.set(self._unsettled_records)


#: murmur2 is pure Python (8 us), and a session sends more than one event.
_partition_for_key = functools.lru_cache(maxsize=PARTITION_CACHE_KEYS)(partition_for_key)
