"""Reading whole topics without a group: from where they begin to where they ended when the reader began."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from topics.catalog import Topic
from tracker.admin import BrokerTopic, describe_broker
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import new_reader
from tracker.kafka_access import explain
from tracker.settings import Settings

#: One fetch of one partition: large, because whole topics are read.
FETCH_MAX_BYTES: Final = 4_194_304
FETCH_WAIT_MS: Final = 500
MAX_RECORDS_AT_ONCE: Final = 5_000
#: A broker that gives nothing for so long is away.
STALLED_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class LogRange:
    """The offsets [begin, end) of one partition."""

    begin: int
    end: int


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
            raise ConfigurationError(f"there is no topic {name} on {self._settings.kafka_bootstrap}")
        return self._found[name].partitions

    async def ranges(self, topic: Topic) -> Mapping[int, LogRange]:
        """Return what each partition holds now.

        Raises:
            ConfigurationError: there is no such topic.
        """
        name = topic.name(self._settings.topic_prefix)
        partitions = [TopicPartition(name, number) for number in range(self.partitions(topic))]
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {tp.partition: LogRange(begins[tp], ends[tp]) for tp in partitions}

    async def read(self, topic: str, partition: int, wanted: LogRange) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """Yield the records of a range, in runs.

        Raises:
            RetryableError: the broker gives nothing any more.
        """
        if wanted.begin >= wanted.end:
            return
        tp = TopicPartition(topic, partition)
        self._consumer.assign([tp])
        self._consumer.seek(tp, wanted.begin)
        position, silent_ms = wanted.begin, 0
        while position < wanted.end:
            found = await self._consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS, max_records=MAX_RECORDS_AT_ONCE)
            records = [record for record in found.get(tp, ()) if record.offset < wanted.end]
            if records:
                yield records
            moved = await self._consumer.position(tp)
            silent_ms = 0 if moved > position else silent_ms + FETCH_WAIT_MS
            position = moved
            if silent_ms > STALLED_AFTER_SECONDS * 1_000:
                raise RetryableError(f"{topic}-{partition} gives nothing after offset {position}")


@asynccontextmanager
async def open_log_reader(settings: Settings, client_id: str) -> AsyncIterator[LogReader]:
    """Yield a reader.

    Raises:
        ConfigurationError: the cluster does not let us in, or denies something.
        RetryableError: Kafka can't be reached, or stops answering within the block.
    """
    found = await describe_broker(settings)
    consumer = new_reader(settings, client_id, max_partition_fetch_bytes=FETCH_MAX_BYTES)
    try:
        await consumer.start()
        yield LogReader(settings, consumer, found)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await explain(settings, error) from error
    finally:
        await consumer.stop()
