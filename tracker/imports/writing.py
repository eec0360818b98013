"""Writing an import's log: records that are there already are recognised and not written again.

The same files, mapping and window give the same records in the same order, so what a partition holds is the beginning
of the records that it shall hold. A resumed or repeated import skips as many records as are there, and checks that
the last of them is the one that it expects: other files under the same name are an error, not a mixture.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from topics.session import MAX_TIMEOUT_SECONDS
from topics.system.control import TICK_VALUE
from tracker.errors import ConfigurationError, InvariantError
from tracker.imports.rows import Mapped
from tracker.kafka.clients import partition_for_key
from tracker.kafka.log_reader import LogRange, first_record

#: Batches under way at once, in all partitions.
MAX_UNACKED_BATCHES: Final = 16
#: After the last record, so that every session ends: longer than any inactivity gap.
CLOSING_MS: Final = MAX_TIMEOUT_SECONDS * 1000 + 1
PROGRESS_ROWS: Final = 1_000


class Present(NamedTuple):
    """What a partition holds already: how many records, the last one's value, and whether the closing tick is there."""

    records: int
    last_value: bytes
    is_closed: bool


@dataclass(slots=True)
class Written:
    """The result of writing: records that were there, and records that are new."""

    present: int = 0
    new: int = 0


class LogWriter:
    """Appends records to the partitions of an import's log, each with its own time, in whole batches."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, present: dict[int, Present], name: str) -> None:
        self._producer = producer
        self._topic = topic
        self._present = present
        self._name = name
        self._count = dict.fromkeys(present, 0)
        self._batches = {number: producer.create_batch() for number in present}
        self._acks: deque[asyncio.Future[object]] = deque()
        self._last_ms = 0
        self.written = Written()

    async def write(self, records: Iterable[Mapped], on_progress: Callable[[Written], None]) -> Written:
        """Write the records that are missing, and the tick that ends all sessions; return once all is acked.

        Raises:
            ConfigurationError: the log holds other records than these files give.
            KafkaError: a batch was not acked; run the import again.
        """
        for record in records:
            partition = partition_for_key(record.key, len(self._present))
            await self._take(partition, record)
            if (self.written.new + self.written.present) % PROGRESS_ROWS == 0:
                on_progress(self.written)
        for number, present in self._present.items():
            if self._count[number] < present.records:
                raise self._other_files()
            if not present.is_closed:
                await self._append(number, self._last_ms + CLOSING_MS, None, TICK_VALUE)
                await self._send(number)
        while self._acks:
            await self._acks.popleft()
        on_progress(self.written)
        return self.written

    async def _take(self, partition: int, record: Mapped) -> None:
        present = self._present[partition]
        nth = self._count[partition] = self._count[partition] + 1
        self._last_ms = max(self._last_ms, record.timestamp_ms)
        if nth > present.records:
            if present.is_closed:
                raise self._other_files()
            await self._append(partition, record.timestamp_ms, record.key, record.value)
            self.written.new += 1
            return
        if nth == present.records and record.value != present.last_value:
            raise self._other_files()
        self.written.present += 1

    async def _append(self, partition: int, timestamp_ms: int, key: bytes | None, value: bytes) -> None:
        batch = self._batches[partition]
        if batch.append(timestamp=timestamp_ms, key=key, value=value) is None:
            await self._send(partition)
            self._batches[partition].append(timestamp=timestamp_ms, key=key, value=value)

    async def _send(self, partition: int) -> None:
        batch, self._batches[partition] = self._batches[partition], self._producer.create_batch()
        self._acks.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        if len(self._acks) > MAX_UNACKED_BATCHES:
            await self._acks.popleft()

    def _other_files(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._topic} holds other events than these files give with this mapping and window; "
            f"an import is repeated with the same files, or gets another name than {self._name!r}"
        )


async def look_present(reader: AIOKafkaConsumer, topic: str, partitions: int) -> dict[int, Present]:
    """Return the records that each partition of an import's log holds already."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    ends: dict[TopicPartition, int] = await reader.end_offsets(tps)
    return {tp.partition: await _present(reader, tp, ends[tp]) for tp in tps}


async def _present(reader: AIOKafkaConsumer, tp: TopicPartition, end: int) -> Present:
    if not end:
        return Present(0, b"", is_closed=False)
    last = await _value_at(reader, tp, end - 1)
    if last != TICK_VALUE:
        return Present(end, last, is_closed=False)
    return Present(end - 1, await _value_at(reader, tp, end - 2) if end > 1 else b"", is_closed=True)


async def _value_at(reader: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> bytes:
    record = await first_record(reader, tp, LogRange(offset, offset + 1))
    if record is None:
        raise InvariantError(f"{tp.topic}-{tp.partition} has no record at {offset}: an import's log keeps them all")
    return bytes(record.value or b"")
