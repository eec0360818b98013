"""Reading ranges of partitions without a group: the one loop that every command reads a log with, and its limits."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from topics.catalog import Topic
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.access import explain
from tracker.kafka.admin import BrokerTopic, describe_broker
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

#: One fetch of one partition: large, because whole topics are read.
FETCH_MAX_BYTES: Final = 4_194_304
FETCH_WAIT_MS: Final = 500
#: How long the broker may hold a fetch open where it has nothing.
RANGE_FETCH_WAIT_MS: Final = 10
MAX_RECORDS_AT_ONCE: Final = 5_000
#: A broker that gives nothing for so long is away.
STALLED_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class LogRange:
    """The offsets [begin, end) of one partition."""

    begin: int
    end: int


class Run(NamedTuple):
    """Records of a partition in order, and the offset after them. Offsets may be missing on the way there."""

    records: Sequence[ConsumerRecord]
    end: int


async def read_range(
    consumer: AIOKafkaConsumer, tp: TopicPartition, wanted: LogRange, max_records: int = MAX_RECORDS_AT_ONCE
) -> AsyncIterator[Run]:
    """Yield a range run by run. Records that retention has deleted are missing. The last run ends where the range does.

    Raises:
        RetryableError: the broker gives nothing any more.
    """
    if wanted.begin >= wanted.end:
        return
    consumer.assign([tp])
    consumer.seek(tp, wanted.begin)
    position = wanted.begin
    while position < wanted.end:
        try:
            async with asyncio.timeout(STALLED_AFTER_SECONDS):
                records, position = await _next_run(consumer, tp, position, max_records)
        except TimeoutError:
            raise RetryableError(
                f"{tp.topic}-{tp.partition} has given nothing after offset {position} for {STALLED_AFTER_SECONDS:g} s"
            ) from None
        if records and records[-1].offset >= wanted.end:
            records = [record for record in records if record.offset < wanted.end]
        yield Run(records, min(position, wanted.end))


async def _next_run(consumer: AIOKafkaConsumer, tp: TopicPartition, position: int, max_records: int) -> Run:
    while True:
        found = await consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS, max_records=max_records)
        moved = await consumer.position(tp)
        if moved > position:
            return Run(found.get(tp, ()), moved)


async def whole_range(consumer: AIOKafkaConsumer, tp: TopicPartition) -> LogRange:
    """Return the range of offsets that a partition has now."""
    return (await whole_ranges(consumer, [tp]))[tp]


async def whole_ranges(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, LogRange]:
    """Return the range of offsets that each partition has now: two requests to each broker."""
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    return {tp: LogRange(begins[tp], ends[tp]) for tp in partitions}


async def first_record(consumer: AIOKafkaConsumer, tp: TopicPartition, wanted: LogRange) -> ConsumerRecord | None:
    """Return the first record that a range holds, or None if it holds none.

    Raises:
        RetryableError: the broker gives nothing any more.
    """
    async for run in read_range(consumer, tp, wanted, max_records=1):
        for record in run.records:
            return record
    return None


class LogReader:
    """Reads ranges of topics; one range at a time, in order."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, found: Mapping[str, BrokerTopic]) -> None:
        self._settings = settings
        self._consumer = consumer
        self._found = found

    def partitions(self, topic: Topic) -> int:
        """Return how many partitions a topic has on the broker, whatever the settings say.

        Raises:
            ConfigurationError: there is no such topic.
        """
        name = topic.name(self._settings.topic_prefix)
        if name not in self._found:
            raise ConfigurationError(
                f"there is no topic {name} on {self._settings.kafka_bootstrap}; run: tracker topics create"
            )
        return self._found[name].partitions

    async def ranges(self, topic: Topic) -> Mapping[int, LogRange]:
        """Return the range of offsets that each partition has now.

        Raises:
            ConfigurationError: there is no such topic.
        """
        name = topic.name(self._settings.topic_prefix)
        partitions = [TopicPartition(name, number) for number in range(self.partitions(topic))]
        ranges = await whole_ranges(self._consumer, partitions)
        return {tp.partition: ranges[tp] for tp in partitions}

    async def ranges_since(self, topic: Topic, since_ms: int) -> Mapping[int, LogRange]:
        """Return the range of each partition from the first record that is not older than a time to the end.

        Args:
            topic: The topic; its own timestamps count.
            since_ms: Milliseconds since the epoch.

        Raises:
            ConfigurationError: there is no such topic.
        """
        whole = await self.ranges(topic)
        name = topic.name(self._settings.topic_prefix)
        asked = {TopicPartition(name, number): max(0, since_ms) for number in whole}
        found = await self._consumer.offsets_for_times(asked)
        ends = {tp: whole[tp.partition].end for tp in asked}
        return {tp.partition: LogRange(at.offset if at else ends[tp], ends[tp]) for tp, at in found.items()}

    async def read(self, topic: str, partition: int, wanted: LogRange) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """Yield the records of a range, in runs.

        Raises:
            RetryableError: the broker gives nothing any more.
        """
        async for run in read_range(self._consumer, TopicPartition(topic, partition), wanted):
            if run.records:
                yield run.records


def new_range_reader(settings: Settings, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """Return an unstarted consumer for ranges of a log that are known to be there.

    aiokafka has one fetch under way per broker. One that waits at the end of a partition keeps the next partition
    waiting, so the broker is told to answer at once.
    """
    return new_reader(settings, client_id, **{"fetch_max_wait_ms": RANGE_FETCH_WAIT_MS, **options})


@asynccontextmanager
async def open_log_reader(settings: Settings, client_id: str) -> AsyncIterator[LogReader]:
    """Yield a reader.

    Raises:
        ConfigurationError: the cluster does not let us in, or denies something.
        RetryableError: Kafka can't be reached, or stops answering within the block.
    """
    found = await describe_broker(settings)
    consumer = new_range_reader(settings, client_id, max_partition_fetch_bytes=FETCH_MAX_BYTES)
    try:
        await consumer.start()
        yield LogReader(settings, consumer, found)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await explain(settings, error) from error
    finally:
        await consumer.stop()
