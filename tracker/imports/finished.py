"""The mark that an import leaves when its rows are in Tinybird: where they are, and by which rules they were folded.

It is the committed offset of a group next to the import's log, with the rest in the offset's metadata. So ``tracker
verify``, from whichever machine, can fold the log once more and hold the rows against it.
"""

from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tracker.kafka.admin import committed
from tracker.kafka.clients import client_options
from tracker.sessions.rules import Rules
from tracker.settings import Settings

#: The group, behind the import's topic prefix.
_GROUP = "folded"


class Finished(msgspec.Struct, frozen=True):
    """Where an import's rows are, and the rules that made them."""

    events_datasource: str
    sessions_datasource: str
    rules: Rules


async def mark_finished(settings: Settings, ends: Mapping[TopicPartition, int], finished: Finished) -> None:
    """Note that the rows of an import's log are written up to these offsets. ``settings`` are the import's own.

    Raises:
        KafkaError: the broker does not take it.
    """
    metadata = msgspec.json.encode(finished).decode()
    consumer = AIOKafkaConsumer(
        **client_options(settings, f"{settings.topic_prefix}{_GROUP}"),
        group_id=f"{settings.topic_prefix}{_GROUP}",
        enable_auto_commit=False,
    )
    async with consumer:
        consumer.assign(list(ends))
        await consumer.commit({tp: OffsetAndMetadata(end, metadata) for tp, end in ends.items()})


async def read_finished(settings: Settings) -> tuple[dict[int, int], Finished | None]:
    """Return how far each partition of an import's log is written, and the mark; nothing if it is not finished.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    found = await committed(settings, f"{settings.topic_prefix}{_GROUP}")
    marks = {at.metadata for at in found.values()}
    if len(marks) != 1:
        return {}, None
    return {tp.partition: at.offset for tp, at in found.items()}, msgspec.json.decode(marks.pop(), type=Finished)
