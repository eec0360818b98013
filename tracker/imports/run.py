"""A whole import: files are read, mapped, put in order, and written to a log of their own."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from topics.catalog import SOURCE, Topic
from tracker.errors import ConfigurationError
from tracker.imports.records import Import, Rejects, records
from tracker.imports.writing import LogWriter, Written, look_present
from tracker.kafka import admin
from tracker.kafka.access import require_access
from tracker.kafka.clients import new_producer
from tracker.kafka.log_reader import new_range_reader
from tracker.settings import Settings

RECORD_BATCH_MAX_BYTES: Final = 900_000
_FOR_EVER: Final = "-1"
_ANY_TIME_MS: Final = str(2**62)

#: The log of an import: as the source topic, but by the events' own time, which is long ago: retention would delete it.
IMPORT_SOURCE: Final[Topic] = dataclasses.replace(
    SOURCE,
    purpose="historical events, in the order of their own time",
    config={
        "cleanup.policy": "delete",
        "retention.ms": _FOR_EVER,
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": _ANY_TIME_MS,
        "message.timestamp.after.max.ms": _ANY_TIME_MS,
    },
)


def import_settings(settings: Settings, name: str) -> Settings:
    """Return the settings by which an import's log is read and replayed: with a separate topic prefix."""
    return settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}import.{name}."})


async def write_log(
    settings: Settings, what: Import, rejects: Rejects, on_progress: Callable[[Written], None]
) -> Written:
    """Write an import's log, or the part of it that is missing.

    Raises:
        ConfigurationError: a file can't be read, lacks a column, or the log holds something else.
        RetryableError: Kafka can't be reached.
    """
    await require_access(settings, "import")
    own = import_settings(settings, what.name)
    await admin.create_topics(own, (IMPORT_SOURCE,))
    topic = IMPORT_SOURCE.name(own.topic_prefix)
    on_broker = (await admin.describe_broker(own))[topic].partitions
    client_id = f"{settings.topic_prefix}import.{what.name}"
    async with new_range_reader(settings, client_id) as reader:
        present = await look_present(reader, topic, on_broker)
    async with new_producer(settings, client_id, max_batch_size=RECORD_BATCH_MAX_BYTES) as producer:
        return await LogWriter(producer, topic, present, what.name).write(records(what, rejects), on_progress)


def check(what: Import, rejects: Rejects) -> int:
    """Read everything and write nothing; return how many records there would be.

    Raises:
        ConfigurationError: a file can't be read, or lacks a column.
    """
    return sum(1 for _ in records(what, rejects))


def require_files(files: Sequence[str]) -> None:
    """Refuse a list of files that can't be imported as one.

    Raises:
        ConfigurationError: no file is named, or one is named twice.
    """
    if not files:
        raise ConfigurationError("which files? Give their names, or - for standard input")
    if len(set(files)) != len(files):
        raise ConfigurationError("a file is named twice: each of its events would be imported twice")
