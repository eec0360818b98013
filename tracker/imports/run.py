"""A whole import: files are read, mapped, put in order, and written to a log of their own."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import orjson

from topics.catalog import SOURCE, Topic
from topics.codec import RejectedRecord
from tracker.errors import ConfigurationError
from tracker.imports.mapping import Mapped, RowMapper
from tracker.imports.order import Placed, in_order, merged
from tracker.imports.readers import read_rows
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


class Import(NamedTuple):
    """The files to import, and how."""

    name: str
    files: Sequence[str]
    file_format: str | None
    mapper: RowMapper
    #: Rows that may wait for an earlier one, in all files together.
    window_rows: int


class Rejects:
    """The reject file, if there is any: a JSON line for each row that can't be taken, with file, line and reason."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.count = 0
        #: The first reasons, for the person who watches.
        self.first: list[str] = []

    def __enter__(self) -> Self:
        self._file = self._path.open("wb") if self._path is not None else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
            if not self.count:
                self._path.unlink()

    def add(self, file: str, line: int, reason: str, raw: str) -> None:
        """Note a row."""
        self.count += 1
        if len(self.first) < 3:  # noqa: PLR2004 - enough to see the mistake
            self.first.append(f"{file}:{line}: {reason}")
        if self._file is not None:
            self._file.write(orjson.dumps({"file": file, "line": line, "reason": reason, "row": raw}) + b"\n")


def import_settings(settings: Settings, name: str) -> Settings:
    """Return the settings by which an import's log is read and replayed: with a separate topic prefix."""
    return settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}import.{name}."})


def records(what: Import, rejects: Rejects) -> Iterator[Mapped]:
    """Yield the records of all files in the order of their own time; what can't be taken goes to the rejects."""

    def too_late(row: Placed, newest_ms: int) -> None:
        late_seconds = (newest_ms - row.timestamp_ms) / 1000
        reason = f"out of order by {late_seconds:.1f} s; sort the file, or give a larger --window-rows"
        rejects.add(what.files[row.file], row.line, reason, row.record.value.decode())

    # All files are open at once: the window is what waits in all of them, or memory would grow with their number.
    window_rows = max(1, what.window_rows // max(1, len(what.files)))
    streams = [in_order(_mapped(what, number, rejects), window_rows, too_late) for number in range(len(what.files))]
    for placed in merged(streams):
        yield placed.record


def _mapped(what: Import, number: int, rejects: Rejects) -> Iterator[Placed]:
    file = what.files[number]
    for row in read_rows(file, what.file_format):
        if row.fields is None:
            rejects.add(file, row.line, row.error, row.raw)
            continue
        try:
            record = what.mapper.map(row.fields)
        except RejectedRecord as rejected:
            rejects.add(file, row.line, rejected.detail, row.raw)
            continue
        # A copy: what orjson gives leaves most of a 4 KB buffer unused for as long as it waits in the window.
        value = bytes(memoryview(record.value))
        yield Placed(record.timestamp_ms, number, row.line, record._replace(value=value))


async def write_log(
    settings: Settings, what: Import, rejects: Rejects, on_progress: Callable[[Written], None]
) -> Written:
    """Write an import's log, or the part of it that is missing.

    Raises:
        ConfigurationError: a file can't be read, or the log holds something else.
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
    """Read everything and write nothing; return how many records there would be."""
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
