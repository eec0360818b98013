"""Read the operators' decisions about the source log (``topics.system.history``), and put them in place of records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from topics.dead_letter import LOG_APPEND_TIME
from topics.headers import SKIPPED
from topics.system.history import Skip
from tracker.kafka.log_reader import read_range, whole_ranges

log = structlog.get_logger()

#: Why records are skipped, by their offsets.
Skips = Mapping[int, str]


class SkippedRecord(NamedTuple):
    """The placeholder of a record that is not read. No stream time passes with it."""

    offset: int
    headers: Sequence[tuple[str, bytes]]
    timestamp: int = 0
    timestamp_type: int = LOG_APPEND_TIME
    key: None = None
    value: None = None


async def read_skips(reader: AIOKafkaConsumer, topic: str, partitions: Iterable[int]) -> dict[int, Skips]:
    """Return the records to skip of each partition. ``reader`` has no group; the topic has to exist.

    Raises:
        RetryableError: the broker gives nothing any more.
    """
    found: dict[int, Skips] = {}
    ranges = await whole_ranges(reader, [TopicPartition(topic, number) for number in partitions])
    for tp, whole in ranges.items():
        skips: dict[int, str] = {}
        async for run in read_range(reader, tp, whole):
            for record in run.records:
                try:
                    skip = Skip.model_validate_json(record.value or b"")
                except ValidationError as error:
                    log.error("a decision about the log can't be read", offset=record.offset, error=str(error))
                    continue
                skips[skip.offset] = skip.reason
        found[tp.partition] = skips
    return found


def skipped(offset: int, reason: str) -> SkippedRecord:
    """Return the placeholder of a record that is skipped."""
    return SkippedRecord(offset, [(SKIPPED, reason.encode())])


def put_in(skips: Skips, records: Sequence[Any], begin: int, end: int) -> Sequence[Any]:
    """Return the records of [begin, end) with those that are skipped replaced, whether they were read or not."""
    here = {offset: reason for offset, reason in skips.items() if begin <= offset < end} if skips else {}
    if not here:
        return records
    kept = [record for record in records if record.offset not in here]
    return sorted([*kept, *(skipped(*each) for each in here.items())], key=lambda record: record.offset)
