"""Reading stretches of the source log without a group: all that there ever were, or an error."""

from collections.abc import AsyncIterator
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from tracker.errors import ConfigurationError
from tracker.kafka.log_reader import LogRange, Run, read_range

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
                    f"was still to read, from {position} on; discard it, and replay the rest under a new plan"
                )
        yield run
        position = run.end
