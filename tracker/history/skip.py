"""Write the decision that records of the source log are skipped (``topics.system.history``)."""

from aiokafka import TopicPartition

from topics.catalog import HISTORY, SOURCE
from topics.system.history import MAX_REASON_CHARS, Skip
from tracker import clock
from tracker.errors import ConfigurationError
from tracker.kafka.admin import committed_offsets
from tracker.kafka.clients import new_producer
from tracker.kafka.log_reader import open_log_reader
from tracker.kafka.record_batches import ProducerRecord, send_batches
from tracker.settings import Settings


async def skip_records(settings: Settings, partition: int, offsets: range, reason: str) -> None:
    """Have these offsets skipped by every fold from now on.

    Raises:
        ConfigurationError: there are no such records, or they have been processed already: a replay that skipped them
            would give other rows than live did.
        RetryableError: Kafka can't be reached.
    """
    client_id = f"{settings.topic_prefix}skip"
    async with open_log_reader(settings, client_id) as reader:
        held = (await reader.ranges(SOURCE)).get(partition)
        reader.partitions(HISTORY)
    if held is None or offsets.stop > held.end or offsets.start < held.begin:
        where = "no such partition" if held is None else f"its offsets are {held.begin} to {held.end - 1}"
        raise ConfigurationError(f"partition {partition} has no offsets {offsets.start} to {offsets.stop - 1}: {where}")
    source = TopicPartition(SOURCE.name(settings.topic_prefix), partition)
    done = (await committed_offsets(settings, f"{settings.topic_prefix}process")).get(source, 0)
    if offsets.start < done:
        raise ConfigurationError(f"partition {partition} is processed up to offset {done - 1}; nothing is skipped")
    now_ms = clock.now_ms()
    decisions = [
        Skip(partition=partition, offset=offset, reason=reason[:MAX_REASON_CHARS], decided_at_ms=now_ms)
        for offset in offsets
    ]
    async with new_producer(settings, client_id) as producer:
        records: list[ProducerRecord] = [(decision.key, decision.encode(), []) for decision in decisions]
        await send_batches(producer, HISTORY.name(settings.topic_prefix), partition, records)
