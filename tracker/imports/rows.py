"""From a file's row to a source record, by a mapping. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from topics.codec import RejectedRecord
from tracker.imports.coverage import Coverage
from tracker.imports.mapping import OPTIONAL, ColumnMapping
from tracker.imports.paths import REST, Columns, opened
from tracker.imports.translation import DROPPED, Translation, translation
from tracker.imports.values import (
    CONVERTERS,
    OWN_EVENT_FIELDS,
    TIME,
    VISITOR_FIELDS,
    Convert,
    as_metadata,
    as_text,
    epoch_ms,
    read_time,
)
from tracker.imports.visitors import VisitorReader
from tracker.visitors.page import PageReader

Row = Mapping[str, Any]


class Mapped(NamedTuple):
    """A row as a source record, at its own time."""

    timestamp_ms: int
    key: bytes
    value: bytes


class _Use(NamedTuple):
    """What a column is for: the first of its field's columns that holds something counts."""

    field: str
    #: Converts a value of the column into one of the field; None: it may need a translation first.
    convert: Convert | None
    how: Translation
    #: Its place among several columns; None: it is the only one.
    rank: int | None


class RowMapper:
    """Turns rows into records by one mapping, and counts the columns that occur. Checks nothing. About 10 us a row."""

    def __init__(self, mapping: ColumnMapping, pages: PageReader | None = None) -> None:
        self._mapping = mapping
        self._visitors = VisitorReader(pages or PageReader())
        uses = [
            (column, _use(mapping, field, rank if len(columns) > 1 else None))
            for field, columns in _columns_of(mapping)
            for rank, column in enumerate(columns)
        ]
        self._uses = [use for _, use in uses]
        keys = [(column, key) for key, columns in mapping.metadata.items() for column in columns]
        #: The key of each further column, of several columns with one key the first that holds something counts.
        self._keys = {len(uses) + number: key for number, (_, key) in enumerate(keys)}
        columns = [column for column, _ in (*uses, *keys)]
        names = [column.removesuffix(OPTIONAL) for column in columns]
        ignored = [column.removesuffix(OPTIONAL) for column in mapping.ignore]
        self._columns = Columns([*names, *ignored], allows_others=mapping.ignore_other_columns)
        self._unseen = {slot: names[slot] for slot, column in enumerate(columns) if not column.endswith(OPTIONAL)}
        self._drops = bool(mapping.drop) or "drop" in mapping.otherwise.values()
        self.coverage = Coverage([*self._unseen.values(), *filter(None, [mapping.explode])])

    def rows(self, row: Row) -> Iterator[Row]:
        """Yield the rows that a row of the file stands for: itself, or one for each element of the exploded column."""
        column = self._mapping.explode
        if not column:
            yield row
            return
        elements = opened(row.get(column))
        if not isinstance(elements, list) or not elements:
            self.coverage.drop(f"nothing in {column}")
            return
        self.coverage.saw(column)
        for element in elements:
            yield {**row, column: element}

    def map(self, row: Row) -> Mapped | None:
        """Return a row's source record, or None if the mapping drops the row. Whether it is an event is not known yet.

        Raises:
            RejectedRecord: with the reason; nothing else for any row.
        """
        found = self._columns.find(row)
        if self._unseen:
            for slot in self._unseen.keys() & found.keys():
                self.coverage.saw(self._unseen.pop(slot))
        fields = self._values(found)
        if self._mapping.schemas:
            self._set_schema(fields)
        if self._drops and DROPPED in fields.values():
            return None
        self.coverage.filled.update(fields.keys())
        time = read_time(fields.pop(TIME, None), self._mapping.time)
        # Without its zone it is written in a quarter of the time.
        record = self._record(fields, time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z")
        try:
            key, value = record["session_id"].encode(), orjson.dumps(record)
        except (UnicodeEncodeError, orjson.JSONEncodeError) as error:
            raise RejectedRecord("invalid", f"can't be written as JSON: {error}") from None
        return Mapped(epoch_ms(time), key, value)

    def _values(self, found: Mapping[int, Any]) -> dict[str, Any]:
        """Return the value of each field that has one."""
        # In locals, and a call only where there is something to do: this loop is most of what a row costs.
        uses, coverage, fields = self._uses, self.coverage, dict(self._mapping.constants)
        several: dict[str, tuple[int, Translation, Any]] = {}
        for slot, value in found.items():
            if slot >= len(uses):
                continue  # it is for the metadata, or ignored
            field, convert, how, rank = uses[slot]
            if rank is not None:
                if field not in several or rank < several[field][0]:
                    several[field] = rank, how, value
            elif convert is as_text and value.__class__ is str:
                fields[field] = value
            elif (read := convert(field, value) if convert else how.of(value, coverage)) is not None:
                fields[field] = read
        for field, (_, how, value) in several.items():
            if (read := how.of(value, coverage)) is not None:
                fields[field] = read
        if self._keys and (content := self._object(found)):
            fields["metadata"] = as_metadata("metadata", content)
        return fields

    def _set_schema(self, fields: dict[str, Any]) -> None:
        """Give an event of one of the mapping's own types its schema, and leave its properties to no other event."""
        version = self._mapping.schemas.get(fields.get("event_type", ""))
        if version is not None:
            fields["schema"] = version
            fields.pop("metadata", None)
        elif "schema" not in fields:
            fields.pop("properties", None)

    def _object(self, found: Mapping[int, Any]) -> dict[str, Any]:
        """Return the object whose keys [metadata] lists."""
        content: dict[str, Any] = {}
        for slot, key in self._keys.items():
            if slot in found:
                content.setdefault(key, found[slot])
        if REST not in content:
            return content
        rest = opened(content.pop(REST))
        if not isinstance(rest, dict):
            raise RejectedRecord("invalid", "metadata: the column behind * holds no object")
        return {**rest, **content}

    def _record(self, fields: dict[str, Any], time: str) -> dict[str, Any]:
        """Put the fields where a source record has them."""
        session_id = fields.pop("session_id", None)
        if session_id is None:
            raise RejectedRecord("invalid", "session_id: missing")
        record = {"type": "event", "session_id": session_id, TIME: time}
        for name in ("schema", "passive"):
            if name in fields:
                record[name] = fields.pop(name)
        # In the row's own order: a set's order differs from run to run, and the same row has to give the same bytes.
        given = {field: fields.pop(field) for field in list(fields) if field in VISITOR_FIELDS}
        if visitor := self._visitors.filled(given, fields):
            record["visitor"] = visitor
        record["data"] = fields
        return record


def _use(mapping: ColumnMapping, field: str, rank: int | None) -> _Use:
    how = translation(mapping, field)
    return _Use(field, how.convert if how.is_plain else None, how, rank)


def _columns_of(mapping: ColumnMapping) -> Iterator[tuple[str, list[str]]]:
    """Yield each field with its columns; without any, its own name is one that may be missing."""
    for field in CONVERTERS:
        if field in mapping.columns:
            yield field, mapping.columns[field]
        elif field in OWN_EVENT_FIELDS and mapping.columns:
            continue  # in other tools' files these names mean something else
        elif field != "metadata" or not mapping.metadata:
            yield field, [field + OPTIONAL]
