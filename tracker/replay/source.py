"""Reading stretches of partitions without a group: the source log, and live outputs to compare with."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SourcePosition, read_position
from tracker.replay.compare import Placed

READ_TIMEOUT_MS: Final = 500
#: One fetch of one partition: large, because a replay reads nothing else.
FETCH_MAX_BYTES: Final = 8_388_608


async def read_stretch(
    reader: AIOKafkaConsumer, tp: TopicPartition, begin: int, until: int, max_records: int
) -> AsyncIterator[tuple[Sequence[ConsumerRecord], int]]:
    """Yield consecutive records of [begin, until), and each time the offset after them. Offsets may be missing."""
    reader.assign([tp])
    reader.seek(tp, begin)
    position = begin
    while position < until:
        found = await reader.getmany(tp, timeout_ms=READ_TIMEOUT_MS, max_records=max_records)
        records = found.get(tp, [])
        position = await reader.position(tp)
        if records and records[-1].offset >= until:
            records = [record for record in records if record.offset < until]
        if records or position >= until:
            yield records, min(position, until)


class LiveOutputs:
    """One partition of a live output topic, each output once, taken in step with the replay."""

    def __init__(self, reader: AIOKafkaConsumer, tp: TopicPartition) -> None:
        self._reader = reader
        self._tp = tp
        self._waiting: list[Placed] = []
        self._last = SourcePosition(-1, -1)
        self._end = 0
        #: The first position that live still has; None if it has nothing.
        self.begins: SourcePosition | None = None

    async def start(self) -> None:
        """Go to the start of what the topic has, and fix its end: what comes later is not compared."""
        self._reader.assign([self._tp])
        self._end = (await self._reader.end_offsets([self._tp]))[self._tp]
        await self._reader.seek_to_beginning(self._tp)

    async def take(self, begin: int, end: int, max_records: int) -> list[Placed]:
        """Return the outputs of source offsets [begin, end), which lie before all that is taken later."""
        while not (self._waiting and self._waiting[-1].position.offset >= end):
            if await self._reader.position(self._tp) >= self._end:
                break
            found = await self._reader.getmany(self._tp, timeout_ms=READ_TIMEOUT_MS, max_records=max_records)
            for record in found.get(self._tp, ()):
                self._note(record)
        taken = [placed for placed in self._waiting if begin <= placed.position.offset < end]
        self._waiting = [placed for placed in self._waiting if placed.position.offset >= end]
        return taken

    def _note(self, record: ConsumerRecord) -> None:
        position = read_position(record.headers)
        if position is None or position <= self._last:  # the sink's dead letters have none; repeats have been seen
            return
        self._last = position
        if self.begins is None:
            self.begins = position
        self._waiting.append(Placed(position, record.key, record.value))
