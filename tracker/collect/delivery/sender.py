"""Concurrent requests share batches: records gather for a moment, then go out as one batch a partition.

One timer and one future serve a whole batch, where sending record by record costs each request its own.
Batches of a partition go out in the order in which their records came, and the next one is handed to the producer
only when Kafka has acknowledged the one before: a batch that is refused has nothing behind it that could overtake it.

A producer is never asked to forget a batch. aiokafka's idempotent producer repeats it until its fate is known, and the
broker drops repetitions by their number; so what is late is late, but not twice, and not behind what was sent later.
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
from tracker.collect.delivery.batch import NO_HEADERS, Batch, Routed
from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill.store import SpilledRecord
from tracker.errors import InvariantError
from tracker.kafka.clients import partition_for_key

#: Records that come within this time share a batch.
LINGER_SECONDS: Final = 0.002
#: What may be held that Kafka has neither acknowledged nor refused, whether a request still waits or not.
MAX_UNSETTLED_RECORDS: Final = 20_000
MAX_UNSETTLED_BYTES: Final = 64 * 1024 * 1024
#: Keys whose partition is remembered.
PARTITION_CACHE_KEYS: Final = 32_768


class _Lane:
    """One partition's batches: those that wait, and the one that the producer has."""

    __slots__ = ("handed", "partition", "shipping", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Batch] = deque()
        self.handed: Batch | None = None
        self.shipping: asyncio.Task[None] | None = None


class BatchSender:
    """Gathers records into batches and sends them through one started producer.

    ``on_trouble`` is called when a batch has waited for ``ack_timeout_seconds`` and when the producer has broken;
    whoever hears it takes over what is unsettled.

    The number of partitions is the one at the start: should it grow, the processor forwards what is in the
    wrong partition until the collector is restarted.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        metrics: CollectMetrics,
        *,
        ack_timeout_seconds: float,
        max_key_records: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        self.producer = producer
        self._metrics = metrics
        self._ack_timeout_seconds = ack_timeout_seconds
        self._max_key_records = max_key_records
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, list[_Lane]] = {}
        self._all_lanes: list[_Lane] = []
        self._touched: set[_Lane] = set()
        self._held = False
        self._unsettled_records = 0
        self._unsettled_bytes = 0
        #: The error that the producer did not retry, if there was one: from then on it can't be used.
        self.broken: BaseException | None = None

    def knows(self, topic: str) -> bool:
        """Whether the topic's partitions are known."""
        return topic in self._lanes

    def learn(self, topic: str, partitions: int) -> None:
        """Add a topic that it can send to."""
        self._lanes[topic] = [_Lane(topic, number) for number in range(partitions)]
        self._all_lanes += self._lanes[topic]

    @property
    def is_full(self) -> bool:
        """Whether as much is under way as may be."""
        return self._unsettled_records >= MAX_UNSETTLED_RECORDS or self._unsettled_bytes >= MAX_UNSETTLED_BYTES

    def add(self, records: Iterable[Routed], headers: Headers) -> "list[asyncio.Future[None]]":
        """Put records into their partitions' next batches.

        Returns:
            What ends when their batches are safe, or have failed; each once.
        """
        accepted: dict[asyncio.Future[None], None] = {}
        max_key_records = self._max_key_records
        if not self._touched:
            self._loop.call_later(LINGER_SECONDS, self._flush)
        for record in records:
            topic, key, value = record
            lanes = self._lanes[topic]
            lane = lanes[_partition_for_key(key, len(lanes))]
            batch = lane.waiting[-1] if lane.waiting else None
            if batch is None or not batch.add(record, max_key_records, headers):
                batch = self._new_batch()
                lane.waiting.append(batch)
                if not batch.add(record, max_key_records, headers):
                    raise InvariantError("a record that fits the topic does not fit an empty batch")
            self._unsettled_records += 1
            self._unsettled_bytes += len(key) + len(value)
            self._touched.add(lane)
            accepted[batch.accepted] = None
        return list(accepted)

    def _new_batch(self) -> Batch:
        overdue = self._loop.call_later(self._ack_timeout_seconds, self._on_trouble, "Kafka does not acknowledge")
        return Batch(self.producer.create_batch(), overdue)

    def hold(self) -> None:
        """Gather records, but send none until they are released: something older goes first."""
        self._held = True

    def release(self) -> None:
        """Send what was gathered, and again what comes."""
        self._held = False
        self._touched.update(lane for lane in self._all_lanes if lane.waiting)
        self._flush()

    def take_unsettled(self) -> list[Batch]:
        """Give away all batches whose requests still wait, in each partition's order.

        What the producer has been handed it keeps, and goes on trying; the others it will not see.
        """
        handed = [lane.handed for lane in self._all_lanes if lane.handed is not None]
        taken = [batch for batch in handed if not batch.accepted.done() and batch.ticket is None]
        for lane in self._all_lanes:
            for batch in lane.waiting:
                self._forget(batch)
                taken.append(batch)
            lane.waiting.clear()
        for batch in taken:
            batch.stop_clock()
        return taken

    async def settled(self) -> None:
        """Wait until the fate of everything that the producer was handed is known.

        Raises:
            KafkaError: the producer has broken.
        """
        while shipping := [lane.shipping for lane in self._all_lanes if lane.shipping is not None]:
            await asyncio.wait(shipping)
        if self.broken is not None:
            raise KafkaError(repr(self.broken))

    async def send(self, records: Sequence[SpilledRecord]) -> int:
        """Send the first of these records, as many as make one batch a partition, past all that is gathered.

        Returns:
            How many there were, all of them acknowledged, however long that has taken.

        Raises:
            KafkaError: the producer has broken. Some may have arrived.
        """
        batches: dict[_Lane, Batch] = {}
        sent = 0
        for record in records:
            lanes = self._lanes[record.topic]
            lane = lanes[_partition_for_key(record.key, len(lanes))]
            if lane not in batches:
                batches[lane] = Batch(self.producer.create_batch(), None)
            if not batches[lane].add((record.topic, record.key, record.value), self._max_key_records, NO_HEADERS):
                break
            sent += 1
        if not sent:
            raise InvariantError("a record that was accepted does not fit an empty batch")
        try:
            acks = [await self._hand(lane, batch) for lane, batch in batches.items()]
            for outcome in await asyncio.gather(*acks, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        except KafkaError as error:
            self.broken = error
            raise
        return sent

    def stop_shipping(self) -> None:
        """Let go of what the producer was handed: it is about to be closed."""
        for lane in self._all_lanes:
            if lane.shipping is not None:
                lane.shipping.cancel()

    def _flush(self) -> None:
        self._metrics.records_unsettled.set(self._unsettled_records)  # here, not for each record: it takes a lock
        if self._held or self.broken is not None:
            self._touched.clear()
            return
        # All partitions at once, so that their batches share a request to the broker.
        for lane in self._touched:
            if lane.shipping is None and lane.waiting:
                lane.shipping = self._loop.create_task(self._ship(lane))
        self._touched.clear()

    async def _ship(self, lane: _Lane) -> None:
        try:
            while lane.waiting and not self._held and self.broken is None:
                lane.handed = batch = lane.waiting.popleft()
                try:
                    await (await self._hand(lane, batch))
                except KafkaError as error:
                    self._break(lane, batch, error)
                else:
                    self._arrived(batch)
                lane.handed = None
        finally:
            lane.shipping = None

    async def _hand(self, lane: _Lane, batch: Batch) -> "asyncio.Future[Any]":
        ack: asyncio.Future[Any] = await self.producer.send_batch(batch.builder, lane.topic, partition=lane.partition)
        return ack

    def _arrived(self, batch: Batch) -> None:
        self._forget(batch)
        if not batch.accepted.done() and batch.ticket is None:
            self._metrics.records_acked.inc(len(batch.records))
            self._metrics.produce_seconds.observe(time.monotonic() - batch.started)
        if batch.ticket is not None:
            batch.ticket.arrived()
        batch.accept()

    def _break(self, lane: _Lane, batch: Batch, error: KafkaError) -> None:
        """Give up the producer: the refused batch has left a hole in its sequence numbers."""
        self.broken = self.broken or error
        if batch.ticket is None and not batch.accepted.done():
            lane.waiting.appendleft(batch)
        else:
            self._forget(batch)
        lane.handed = None
        self._on_trouble(f"Kafka refuses: {type(error).__name__}")

    def _forget(self, batch: Batch) -> None:
        self._unsettled_records -= len(batch.records)
        self._unsettled_bytes -= batch.size_bytes
        self._metrics.records_unsettled.set(self._unsettled_records)


#: murmur2 is pure Python (8 us), and a session sends more than one event.
_partition_for_key = functools.lru_cache(maxsize=PARTITION_CACHE_KEYS)(partition_for_key)
