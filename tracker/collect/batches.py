"""Concurrent requests share batches: records gather for a moment, then go out as one batch a partition.

One timer and one future serve a whole batch, where sending record by record costs each request its own.
Batches of a partition go out in the order in which their records came.
"""

import asyncio
import functools
import time
from collections import deque
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from tracker.collect.metrics import CollectMetrics
from tracker.collect.requests import Outgoing
from tracker.errors import InvariantError
from tracker.kafka import partition_for_key

#: Records that come within this time share a batch.
LINGER_SECONDS: Final = 0.005
#: What may be held that Kafka has neither acknowledged nor refused, whether a request still waits or not.
MAX_UNSETTLED_RECORDS: Final = 20_000
MAX_UNSETTLED_BYTES: Final = 64 * 1024 * 1024
#: Keys whose partition is remembered.
PARTITION_CACHE_KEYS: Final = 32_768


class Batch:
    """Records of one partition that share their fate; ``acked`` ends when the requests have their answer."""

    __slots__ = ("acked", "builder", "deadline", "records", "size_bytes", "started")

    def __init__(self, builder: BatchBuilder, ack_timeout_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.builder = builder
        self.acked: asyncio.Future[None] = loop.create_future()
        self.acked.add_done_callback(_retrieve)
        self.started = time.monotonic()
        self.deadline = loop.call_later(ack_timeout_seconds, self.fail, KafkaTimeoutError())
        self.records = 0
        self.size_bytes = 0

    def add(self, record: Outgoing) -> bool:
        """Add a record; False if the batch is full."""
        if self.builder.append(timestamp=None, key=record.key, value=record.value) is None:
            return False
        self.records += 1
        self.size_bytes += len(record.key) + len(record.value)
        return True

    def succeed(self) -> None:
        """Tell everyone who still waits that the broker has the records."""
        self.deadline.cancel()
        if not self.acked.done():
            self.acked.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell everyone who still waits that this did not work out."""
        self.deadline.cancel()
        if not self.acked.done():
            self.acked.set_exception(error)


class BatchSender:
    """Gathers records into batches and sends them through one started producer.

    A batch that is not acknowledged ``ack_timeout_seconds`` after its first record came is given up by its
    requests; once sent, it may still arrive.

    The number of partitions is the one at the start: should it grow, the processor forwards what is in the
    wrong partition until the collector is restarted.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        partitions: int,
        metrics: CollectMetrics,
        *,
        ack_timeout_seconds: float,
    ) -> None:
        self.producer = producer
        self._topic = topic
        self._metrics = metrics
        self._ack_timeout_seconds = ack_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._lanes: list[deque[Batch]] = [deque() for _ in range(partitions)]
        self._shipping: dict[int, asyncio.Task[None]] = {}
        self._touched: set[int] = set()
        self._unsettled_records = 0
        self._unsettled_bytes = 0
        #: The error that the producer did not retry, if there was one: from then on it can't be used.
        self.broken: BaseException | None = None

    @property
    def is_full(self) -> bool:
        """Whether as much is under way as may be."""
        return self._unsettled_records >= MAX_UNSETTLED_RECORDS or self._unsettled_bytes >= MAX_UNSETTLED_BYTES

    def add(self, record: Outgoing) -> "asyncio.Future[None]":
        """Put a record into its partition's next batch; the future ends with the batch's ack or failure."""
        partition = _partition_for_key(record.key, len(self._lanes))
        lane = self._lanes[partition]
        if not lane or not lane[-1].add(record):
            lane.append(Batch(self.producer.create_batch(), self._ack_timeout_seconds))
            if not lane[-1].add(record):
                raise InvariantError("a record that fits the topic does not fit an empty batch")
        self._unsettled_records += 1
        self._unsettled_bytes += len(record.key) + len(record.value)
        self._metrics.records_unsettled.set(self._unsettled_records)
        if not self._touched:
            self._loop.call_later(LINGER_SECONDS, self._flush)
        self._touched.add(partition)
        return lane[-1].acked

    async def drain(self) -> None:
        """Wait until everything that was added is on its way and answered or given up."""
        self._flush()
        while self._shipping:
            await asyncio.wait(self._shipping.values())

    def _flush(self) -> None:
        # All partitions at once, so that their batches share a request to the broker.
        for partition in self._touched:
            if partition not in self._shipping:
                self._shipping[partition] = self._loop.create_task(self._ship(partition))
        self._touched.clear()

    async def _ship(self, partition: int) -> None:
        lane = self._lanes[partition]
        while lane:
            batch = lane.popleft()
            if batch.acked.done() or self.broken is not None:
                # Everyone has been answered 503 already, or is now: sending it would help nobody.
                self._settle(batch, self.broken)
                continue
            try:
                ack = await self.producer.send_batch(batch.builder, self._topic, partition=partition)
            except KafkaError as error:
                self._settle(batch, error)
            else:
                ack.add_done_callback(lambda ack, batch=batch: self._settle(batch, _outcome(ack)))
        del self._shipping[partition]

    def _settle(self, batch: Batch, error: BaseException | None) -> None:
        self._unsettled_records -= batch.records
        self._unsettled_bytes -= batch.size_bytes
        self._metrics.records_unsettled.set(self._unsettled_records)
        if error is None:
            if not batch.acked.done():
                self._metrics.records_acked.inc(batch.records)
                self._metrics.produce_seconds.observe(time.monotonic() - batch.started)
            batch.succeed()
            return
        # A time-out is ours or aiokafka's own; anything else has left a hole in the producer's sequence
        # numbers, and the broker would refuse everything that it sends to this partition from now on.
        if not isinstance(error, KafkaTimeoutError) and self.broken is None:
            self.broken = error
        batch.fail(error)


#: murmur2 is pure Python (8 us), and a session sends more than one event.
_partition_for_key = functools.lru_cache(maxsize=PARTITION_CACHE_KEYS)(partition_for_key)


def _outcome(ack: "asyncio.Future[Any]") -> BaseException | None:
    return KafkaTimeoutError() if ack.cancelled() else ack.exception()


def _retrieve(acked: "asyncio.Future[None]") -> None:
    """Mark a failure as seen: a batch may fail after all its requests have gone."""
    if not acked.cancelled():
        acked.exception()
