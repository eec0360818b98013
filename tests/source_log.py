"""The source topic as a test sees it: write to it, and read back what was accepted, in log order."""

import asyncio
from collections import defaultdict
from typing import Any

import orjson
from aiokafka import ConsumerRecord, TopicPartition

from tests.patience import PATIENCE_SECONDS
from topics.catalog import Topic
from tracker.kafka.clients import new_reader
from tracker.settings import Settings


def event_value(session_id: str, event_id: str, **data: Any) -> bytes:
    """A source record of a click."""
    record = {
        "type": "event",
        "session_id": session_id,
        "timestamp": "2026-11-24T03:43:00.123Z",
        "data": {"event_type": "click", "event_id": event_id, **data},
    }
    return orjson.dumps(record)


async def end_offsets(settings: Settings, topic: Topic) -> dict[TopicPartition, int]:
    """The end of every partition."""
    async with new_reader(settings, "test-ends") as reader:
        name = topic.name(settings.topic_prefix)
        partitions = [TopicPartition(name, number) for number in range(settings.partitions)]
        ends: dict[TopicPartition, int] = await reader.end_offsets(partitions)
        return ends


async def read_all(settings: Settings, topic: Topic) -> list[ConsumerRecord]:
    """Every record of a topic up to its present end, partition by partition in order."""
    found: dict[int, list[ConsumerRecord]] = defaultdict(list)
    async with new_reader(settings, "test-reader") as reader:
        name = topic.name(settings.topic_prefix)
        partitions = [TopicPartition(name, number) for number in range(settings.partitions)]
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        await reader.seek_to_beginning(*partitions)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any([await reader.position(tp) < ends[tp] for tp in partitions]):
                for tp, records in (await reader.getmany(timeout_ms=200, max_records=5_000)).items():
                    found[tp.partition] += records
    return [record for number in sorted(found) for record in found[number]]
