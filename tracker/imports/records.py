"""From files to checked records in the order of their own time; bad rows go to the rejects."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self

import orjson

from topics.codec import SCHEMA_NAME, RejectedRecord
from topics.records import OwnEvent, are_valid_events, decode_record
from topics.schemas import NO_SCHEMAS, Schemas
from tracker.imports.order import Placed, in_order, merged
from tracker.imports.readers import Row, raw_text, read_rows
from tracker.imports.rows import Mapped, RowMapper

#: Rows that are checked together.
CHECKED_ROWS: Final = 200
#: Reasons that are shown; the rest is in the file.
SHOWN_REASONS: Final = 3


class Import(NamedTuple):
    """The files to import, and how."""

    name: str
    files: Sequence[str]
    file_format: str | None
    mapper: RowMapper
    #: Rows that may wait for an earlier one, in all files together.
    window_rows: int
    #: Of the user's own event types.
    schemas: Schemas = NO_SCHEMAS


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
        if len(self.first) < SHOWN_REASONS:
            self.first.append(f"{file}:{line}: {reason}")
        if self._file is not None:
            self._file.write(orjson.dumps({"file": file, "line": line, "reason": reason, "row": raw}) + b"\n")


class _Draft(NamedTuple):
    """A record that is not checked yet, or the reason why the row gives none; and the row's text."""

    line: int
    #: Its place among the records that the row stands for.
    nth: int
    result: Mapped | RejectedRecord
    source: object


def records(what: Import, rejects: Rejects) -> Iterator[Mapped]:
    """Yield the records of all files in the order of their own time; bad rows go to the rejects.

    Raises:
        ConfigurationError: before the first record, if a column that the mapping needs has not occurred in the rows
            that were read until then: the window, or all.
    """

    def too_late(row: Placed, newest_ms: int) -> None:
        late_seconds = (newest_ms - row.timestamp_ms) / 1000
        reason = f"out of order by {late_seconds:.1f} s; sort the file, or give a larger --window-rows"
        rejects.add(what.files[row.file], row.line, reason, row.record.value.decode())

    # All files are open at once. The window counts waiting rows of all, or memory would grow with their number.
    window_rows = max(1, what.window_rows // max(1, len(what.files)))
    streams = [in_order(_of_file(what, number, rejects), window_rows, too_late) for number in range(len(what.files))]
    in_time = merged(streams)
    first = next(in_time, None)
    what.mapper.coverage.require()
    if first is not None:
        yield first.record
    for placed in in_time:
        yield placed.record


def _of_file(what: Import, number: int, rejects: Rejects) -> Iterator[Placed]:
    file = what.files[number]
    rows = read_rows(file, what.file_format)
    while some := list(islice(rows, CHECKED_ROWS)):
        drafts = [draft for row in some for draft in _drafts(what.mapper, row)]
        # In most batches all are events, which is known in a fifth of the time that it takes to look at each.
        are_valid = are_valid_events([each.result.value for each in drafts if isinstance(each.result, Mapped)])
        for draft in drafts:
            result = draft.result
            if isinstance(result, Mapped) and (not are_valid or SCHEMA_NAME in result.value):
                result = _checked(result, what.schemas)
            if isinstance(result, Mapped):
                yield Placed(result.timestamp_ms, number, draft.line, draft.nth, result)
            else:
                rejects.add(file, draft.line, result.detail, raw_text(draft.source))


def _drafts(mapper: RowMapper, row: Row) -> Iterator[_Draft]:
    if row.fields is None:
        yield _Draft(row.line, 0, RejectedRecord("invalid", row.error), row.source)
        return
    for nth, fields in enumerate(mapper.rows(row.fields)):
        source = row.source if fields is row.fields else fields
        try:
            mapped = mapper.map(fields)
        except RejectedRecord as rejected:
            yield _Draft(row.line, nth, rejected, source)
            continue
        if mapped is not None:
            # A copy: orjson's bytes would keep a buffer of 4 KB, mostly unused, as long as they wait in the window.
            yield _Draft(row.line, nth, mapped._replace(value=bytes(memoryview(mapped.value))), source)


def _checked(mapped: Mapped, schemas: Schemas) -> Mapped | RejectedRecord:
    try:
        record = decode_record(mapped.key, mapped.value)
        if isinstance(record, OwnEvent):
            schemas.check(record.data.event_type, record.schema, str(record.data.metadata))
    except RejectedRecord as rejected:
        return rejected
    return mapped
