"""A broker that misbehaves on command, seen through the part of aiokafka's producer that the collector uses.

It keeps Kafka's promises and no others: a batch is appended whole, in the order in which a producer sent it, and once,
however often it is repeated; a producer that has been closed sends nothing more, but what is on the wire still arrives.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerClosed

from tests.patience import PATIENCE_SECONDS
from tracker.kafka.clients import partition_for_key

PARTITIONS = 3
BATCH_RECORDS = 100


def key_of(partition: int) -> str:
    """A session ID whose records belong to a partition."""
    return next(f"s{n}" for n in range(1_000) if partition_for_key(b"s%d" % n, PARTITIONS) == partition)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


@dataclass(eq=False)
class SentBatch:
    topic: str
    partition: int
    records: list[tuple[bytes, bytes]]
    #: Of each record.
    headers: list[list[object]]
    ack: "asyncio.Future[None]"
    is_on_the_wire: bool
    is_appended: bool = False


class FaultyKafka:
    """The broker: its log, and what it does to those who come."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.log: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
        self.max_latency_seconds = 0.05
        self.is_silent = False
        self.refusals_left = 0
        self.pending: list[SentBatch] = []
        self.producers = 0
        #: Batches that met each of its faults.
        self.struck: Counter[str] = Counter()

    def make_producer(self, *_: Any) -> "FaultyProducer":
        return FaultyProducer(self)

    def wake(self) -> None:
        """Answer again: first whatever lies in the sockets, then what producers that live still hold."""
        self.is_silent = False
        for batch in [batch for batch in self.pending if batch.is_on_the_wire]:
            self._append(batch)
        for batch in self.pending:
            if not batch.ack.done():
                self._append(batch)
                batch.ack.set_result(None)
        self.pending.clear()

    def take(self, batch: SentBatch) -> None:
        if self.refusals_left:
            self.refusals_left -= 1
            self.struck["refused"] += 1
            batch.ack.set_exception(MessageSizeTooLargeError())
        elif self.is_silent:
            self.pending.append(batch)
            self.struck["not answered"] += 1
            if self.rng.random() < 0.5:
                self._append(batch)  # it has arrived; only its ack gets lost
        else:
            self._append(batch)
            batch.ack.set_result(None)

    def _append(self, batch: SentBatch) -> None:
        if not batch.is_appended:
            batch.is_appended = True
            self.log[batch.partition] += batch.records


@dataclass(eq=False)
class Builder:
    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    headers: list[list[object]] = field(default_factory=list)
    #: A batch that was sent takes no further record.
    is_closed: bool = False

    def append(self, *, timestamp: None, key: bytes, value: bytes, headers: Sequence[object]) -> object | None:
        if self.is_closed or len(self.records) == BATCH_RECORDS:
            return None
        self.headers.append(list(headers))
        self.records.append((key, value))
        return object()


class FaultyProducer:
    """What the collector needs of a producer, its private parts included."""

    def __init__(self, kafka: FaultyKafka) -> None:
        self.kafka = kafka
        self.is_closed = False
        self.mine: list[SentBatch] = []
        #: How it was closed.
        self.steps: list[str] = []
        self.client = self
        self._sender = self
        self._message_accumulator = self

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self.kafka.is_silent:
            raise KafkaConnectionError
        self.kafka.producers += 1

    async def stop(self) -> None:
        self.steps.append("stop")
        self.die()

    async def close(self) -> None:
        self.steps.append("end the sender")
        self.die()

    def die(self) -> None:
        """Never send again."""
        self.is_closed = True
        for batch in self.mine:
            if not batch.ack.done():
                batch.ack.cancel()
            if not batch.is_on_the_wire and batch in self.kafka.pending:
                self.kafka.pending.remove(batch)

    def fail_all(self, error: Exception) -> None:
        self.steps.append("fail what was not sent")
        for batch in self.mine:
            if not batch.ack.done():
                batch.ack.set_exception(error)
                batch.ack.exception()  # there may be no caller any more

    async def fetch_all_metadata(self) -> "FaultyProducer":
        return self

    def topics(self) -> set[str]:
        return {"test.events"}

    async def partitions_for(self, _: str) -> set[int]:
        return set(range(PARTITIONS))

    async def force_metadata_update(self) -> bool:
        return not self.kafka.is_silent

    @property
    def cluster(self) -> "FaultyProducer":
        return self

    def create_batch(self) -> Builder:
        return Builder()

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> "asyncio.Future[None]":
        await asyncio.sleep(self.kafka.rng.random() ** 4 * self.kafka.max_latency_seconds)
        if self.is_closed:
            raise ProducerClosed
        builder.is_closed = True
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_on_the_wire = self.kafka.rng.random() < 0.5
        batch = SentBatch(topic, partition, builder.records, builder.headers, ack, is_on_the_wire)
        self.mine.append(batch)
        self.kafka.take(batch)
        return asyncio.shield(ack)
