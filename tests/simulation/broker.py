"""A double of Kafka's logs: partitions, idempotent appends, compaction, and a broker that can be away."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from topics.catalog import CATALOG, CHANGELOG, SOURCE, Topic
from topics.dead_letter import LOG_APPEND_TIME

PREFIX = "tracker."
SOURCE_TOPIC = SOURCE.name(PREFIX)
CHANGELOG_TOPIC = CHANGELOG.name(PREFIX)


def topic_of(tp: TopicPartition) -> Topic:
    """What the catalogue says of a partition's topic."""
    return next(topic for topic in CATALOG if topic.name(PREFIX) == tp.topic)


class Record(NamedTuple):
    """One record, with what production code reads of aiokafka's ``ConsumerRecord``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp_type: int = LOG_APPEND_TIME


class Appended(NamedTuple):
    """What an ack says."""

    offset: int


Content = tuple[bytes | None, bytes | None, Any]


class PartitionLog:
    """The records of one partition that are still there, in offset order."""

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.records: list[Record] = []
        self.end = 0
        self.on_news: list[Callable[[], None]] = []
        self.takes_create_time = topic_of(tp).config["message.timestamp.type"] == "CreateTime"
        self._offsets: list[int] = []
        #: Where the batch that came last begins.
        self._last_batch = 0

    def append(
        self, contents: Iterable[Content], timestamp_ms: int, created_ms: Iterable[int | None] = repeat(None)
    ) -> int:
        """Append a batch and return its base offset.

        A record has the time that its producer gave it, if it gave one and the topic takes it (CreateTime).
        """
        base = self._last_batch = self.end
        topic, partition = self.tp
        for (key, value, headers), created in zip(contents, created_ms, strict=False):
            time_ms = timestamp_ms if created is None or not self.takes_create_time else created
            self.records.append(Record(topic, partition, self.end, time_ms, key, value, tuple(headers)))
            self._offsets.append(self.end)
            self.end += 1
        self.tell()
        return base

    def tell(self) -> None:
        """Wake those who wait for records."""
        for tell in self.on_news:
            tell()

    def read(self, offset: int, max_records: int) -> tuple[list[Record], int]:
        """Return records from an offset on, and the position after them: past what compaction took away."""
        at = bisect_left(self._offsets, offset)
        found = self.records[at : at + max_records]
        is_last = at + max_records >= len(self.records)
        return found, max(offset, self.end) if is_last else found[-1].offset + 1

    def compact(self, now_ms: int, lag_ms: int, delete_retention_ms: int) -> int:
        """Keep the last record of each key among those older than the lag, as Kafka's cleaner does.

        It leaves the active segment alone, which holds at least the last batch.
        """
        clean = 0
        while (
            clean < len(self.records)
            and self.records[clean].offset < self._last_batch
            and self.records[clean].timestamp <= now_ms - lag_ms
        ):
            clean += 1
        last = {record.key: record.offset for record in self.records[:clean]}
        kept = [
            record
            for record in self.records[:clean]
            if last[record.key] == record.offset
            and (record.value is not None or record.timestamp > now_ms - lag_ms - delete_retention_ms)
        ]
        removed = clean - len(kept)
        self.records = kept + self.records[clean:]
        self._offsets = [record.offset for record in self.records]
        return removed


class Broker:
    """All partitions of all topics."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.is_up = True
        self._logs = {
            (topic.name(PREFIX), number): PartitionLog(TopicPartition(topic.name(PREFIX), number))
            for topic in CATALOG
            for number in range(partitions)
        }

    def come_back(self) -> None:
        """Answer again. Readers look for records that were written before."""
        self.is_up = True
        for log in self._logs.values():
            log.tell()

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self._logs[topic, partition]

    def logs(self, topic: str) -> list[PartitionLog]:
        return [self._logs[topic, number] for number in range(self.partitions)]
