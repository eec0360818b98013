"""Reading stretches of partitions without a group: the source log, and live outputs to compare with."""

from collections.abc import AsyncIterator
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SourcePosition, read_position
from tracker.errors import ConfigurationError
from tracker.log_reader import LogRange, Run, read_range
from tracker.replay.compare import Placed

#: Live outputs that are read at once where a replay is compared with them.
LIVE_MAX_RECORDS: Final = 5_000
#: One fetch of one partition: large, because a replay reads nothing else.
FETCH_MAX_BYTES: Final = 8_388_608


async def read_stretch(
    reader: AIOKafkaConsumer, tp: TopicPartition, begin: int, until: int, max_records: int
) -> AsyncIterator[Run]:
    """Yield the records of [begin, until), all that there ever were.

    Raises:
        ConfigurationError: retention has deleted some: folded without them, sessions would come out wrong.
        RetryableError: the broker gives nothing any more.
    """
    position = begin
    async for run in read_range(reader, tp, LogRange(begin, until), max_records):
        if len(run.records) < run.end - position:  # a transaction's marker has an offset, too, and is no record
            starts = (await reader.beginning_offsets([tp]))[tp]
            if starts > position:
                raise ConfigurationError(
                    f"{tp.topic}-{tp.partition} begins at offset {starts} now: retention has deleted what this replay "
                    f"was still to read, from {position} on; discard it, and replay what is left under a new plan"
                )
        yield run
        position = run.end


class LiveOutputs:
    """One partition of a live output topic, each output once, taken in step with the replay."""

    def __init__(self, reader: AIOKafkaConsumer, tp: TopicPartition) -> None:
        self._reader = reader
        self._tp = tp
        self._waiting: list[Placed] = []
        self._last = SourcePosition(-1, -1)
        self._runs: AsyncIterator[Run]
        #: The first position that live still has; None if it has nothing.
        self.begins: SourcePosition | None = None

    async def start(self) -> None:
        """Go to the start of what the topic has, and fix its end: what comes later is not compared."""
        begin = (await self._reader.beginning_offsets([self._tp]))[self._tp]
        end = (await self._reader.end_offsets([self._tp]))[self._tp]
        self._runs = read_range(self._reader, self._tp, LogRange(begin, end), LIVE_MAX_RECORDS)

    async def take(self, begin: int, end: int) -> list[Placed]:
        """Return the outputs of source offsets [begin, end), which lie before all that is taken later."""
        while not (self._waiting and self._waiting[-1].position.offset >= end):
            run = await anext(self._runs, None)
            if run is None:
                break
            for record in run.records:
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
