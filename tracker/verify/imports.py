"""Rows of imports: their logs are folded once more, by the rules that made the rows."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson

from topics.catalog import SOURCE
from topics.headers import read_position
from tracker.imports.finished import Finished, read_finished
from tracker.imports.run import import_settings
from tracker.kafka.admin import partition_counts
from tracker.kafka.clients import partition_for_key
from tracker.kafka.log_reader import open_log_reader
from tracker.schemas.files import read_schemas
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold
from tracker.sessions.outputs import FoldResult
from tracker.sessions.state import Watermark
from tracker.sessions.working_table import Row
from tracker.settings import Settings
from tracker.verify.hashes import EVENTS, Kind
from tracker.verify.log import LoggedRow

_PREFIX: Final = "import."


@dataclass(frozen=True, slots=True)
class Imported:
    """An import whose rows are in the datasources that are looked at, or an unfinished one, whose rows may be."""

    name: str
    settings: Settings
    partitions: int
    #: How far each partition is written.
    written: dict[int, int]
    finished: Finished | None


async def find_imports(settings: Settings, kind_names: Sequence[str]) -> list[Imported]:
    """Return the imports of a deployment into these datasources (events, sessions).

    Raises:
        RetryableError: Kafka can't be reached.
    """
    begins, ends = f"{settings.topic_prefix}{_PREFIX}", f".{SOURCE.suffix}"
    found = []
    for topic, partitions in (await partition_counts(settings, begins)).items():
        if not topic.endswith(ends):
            continue
        name = topic[len(begins) : -len(ends)]
        own = import_settings(settings, name)
        written, finished = await read_finished(own)
        if finished is None or [finished.events_datasource, finished.sessions_datasource] == list(kind_names):
            found.append(Imported(name, own, partitions, written, finished))
    return found


async def imported_rows(what: Imported, kind: Kind) -> AsyncIterator[LoggedRow]:
    """Yield the rows of a datasource that an import's log gives, in order. About 20 us a record.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    topic = SOURCE.name(what.settings.topic_prefix)
    async with open_log_reader(what.settings, f"{what.settings.topic_prefix}verify") as reader:
        for partition, wanted in (await reader.ranges(SOURCE)).items():
            log = _ImportFold(what, partition)
            async for records in reader.read(topic, partition, wanted):
                result = log.fold(records)
                for output in result.events if kind is EVENTS else result.sessions:
                    position = read_position(output.headers)
                    if not output.value or position is None:
                        continue
                    is_written = position.offset < what.written.get(partition, 0)
                    yield LoggedRow(
                        topic, partition, position.offset, is_written, position.offset, orjson.loads(output.value)
                    )


class _ImportFold:
    """The fold of one partition of an import's log, with its table in memory."""

    def __init__(self, what: Imported, partition: int) -> None:
        self._table: dict[bytes, Row] = {}
        self._pages: dict[bytes, bytes] = {}
        self._fold = PartitionFold(
            topic=SOURCE.name(what.settings.topic_prefix),
            partition=partition,
            partition_of=partial(partition_for_key, partitions=what.partitions),
            rules=what.finished.rules if what.finished is not None else what.settings.session_rules,
            lookup=self._table.get,
            read_pages=lambda keys: [self._pages.get(key) for key in keys],
            deadlines=Deadlines(),
            mark=Watermark(stream_time_ms=0),
            schemas=read_schemas(what.settings.schemas_dir),
        )

    def fold(self, records: Sequence[object]) -> FoldResult:
        result = self._fold.fold(records)  # type: ignore[arg-type] # Kafka's records
        for key, page in result.pages.items():
            if page.content is None:
                self._pages.pop(key, None)
            else:
                self._pages[key] = page.content
        for key, row in result.changed.items():
            if row.state is None:
                self._table.pop(key, None)
            else:
                self._table[key] = row
        return result
