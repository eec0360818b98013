"""The rows that the log requires in Tinybird: sums by hour and slice, and those not committed yet. Streamed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from topics.catalog import Topic
from topics.headers import POSITION_HEADERS, SourcePosition, read_position, was_sent_again
from tracker.kafka.log_reader import LogReader
from tracker.settings import Settings
from tracker.verify.hashes import MODULUS, Kind, Scope, Session, session_of, slice_of
from tracker.verify.offsets import Offsets


class Bucket(NamedTuple):
    """Rows that are summed up together."""

    hour: int
    group: int


class Sum(NamedTuple):
    """How many rows, and the sum of their hashes."""

    rows: int
    checksum: int


class LoggedRow(NamedTuple):
    """One output row, each once, and where it lies."""

    topic: str
    partition: int
    offset: int
    is_written: bool
    #: The source record that gave it.
    source_offset: int
    row: Mapping[str, Any]


@dataclass(slots=True)
class Logged:
    """The contents of one output topic."""

    sums: dict[Bucket, Sum] = field(default_factory=dict)
    on_their_way: set[Session] = field(default_factory=set)
    rows: int = 0
    is_whole: bool = True
    #: Of each partition, the offsets of the source records that gave rows, whatever the scope.
    sources: dict[int, Offsets] = field(default_factory=lambda: defaultdict(Offsets))


@dataclass(frozen=True, slots=True)
class OutputLog:
    """One output topic, and how far the sink has committed each partition of it."""

    settings: Settings
    reader: LogReader
    topic: Topic
    committed: Mapping[int, int]

    @property
    def name(self) -> str:
        """The topic's full name."""
        return self.topic.name(self.settings.topic_prefix)


async def logged_rows(log: OutputLog) -> AsyncIterator[LoggedRow]:
    """Yield each output row once, in order; ``is_written`` says that the sink has committed it."""
    for partition, wanted in (await log.reader.ranges(log.topic)).items():
        last = SourcePosition(-1, -1)
        async for records in log.reader.read(log.name, partition, wanted):
            for record in records:
                position = read_position(record.headers)
                if not record.value or position is None or position <= last:
                    continue
                if len(record.headers) > POSITION_HEADERS and was_sent_again(record.headers):
                    continue
                last = position
                is_written = record.offset < log.committed.get(partition, 0)
                yield LoggedRow(
                    log.name, partition, record.offset, is_written, position.offset, orjson.loads(record.value)
                )


async def is_whole(log: OutputLog) -> bool:
    """Return whether the topic reaches back to its start."""
    return all(found.begin == 0 for found in (await log.reader.ranges(log.topic)).values())


async def sum_rows(rows: AsyncIterator[LoggedRow], topic: str, kind: Kind, scope: Scope) -> Logged:
    """Add up the rows that have been written, and note the sessions that still have rows on their way.

    ``topic`` is the one whose rows are accounted for by their source records.
    """
    logged = Logged()
    counts: dict[Bucket, int] = defaultdict(int)
    hashes: dict[Bucket, int] = defaultdict(int)
    async for found in rows:
        row = found.row
        if found.topic == topic:
            logged.sources[found.partition].add(found.source_offset)
        if not found.is_written:
            logged.on_their_way.add(session_of(row))
        elif scope.takes(kind, row):
            bucket = Bucket(kind.hour(row), slice_of(row["session_id"]))
            counts[bucket] += 1
            hashes[bucket] += kind.hash(row)
    logged.sums = {bucket: Sum(rows, hashes[bucket] % MODULUS) for bucket, rows in counts.items()}
    logged.rows = sum(counts.values())
    return logged
