"""The tables, on chdb: ClickHouse in this process, with its data in one directory."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from chdb.session import Session

from tracker import clock
from tracker.datasources.files import Datasource
from tracker.errors import ConfigurationError, RejectedError
from tracker.local.tinybird.rows import RowSorter, UnfitRow, parse_object
from tracker.local.tinybird.sql import (
    QUARANTINE_SUFFIX,
    create_quarantine,
    create_table,
    is_read,
    output_format,
)
from tracker.processes.lock import lock_directory

MAX_QUERY_SECONDS: Final = 30
MAX_QUERY_MEMORY_BYTES: Final = 2_000_000_000
#: Rows that ClickHouse itself may refuse one after the other before the body counts as broken.
MAX_ENGINE_REFUSALS: Final = 100

#: optimize_on_insert=0: copies within one request stay apart until a merge, as between requests, so that
#: a query that lacks FINAL shows it here and not only in production. One thread: the machine has other things to do.
_INSERT_SETTINGS: Final = (
    "SETTINGS date_time_input_format='best_effort', input_format_skip_unknown_fields=1, "
    "optimize_on_insert=0, max_insert_threads=1, max_threads=1"
)
_REFUSED_ROW: Final = re.compile(r"\(at row (\d+)\)")


class UnknownDatasourceError(RejectedError):
    """There is no datasource of this name."""


class QueryError(RejectedError):
    """ClickHouse does not take the query, or the query does more than read."""


@dataclass(frozen=True, slots=True)
class AppendResult:
    """How many rows were written, and how many are in quarantine instead."""

    successful_rows: int
    quarantined_rows: int


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query's answer in the format that it asked for."""

    format: str
    body: bytes


class Database:
    """The datasources' tables. ``append`` and ``query`` each belong to one thread; the two may differ.

    Raises:
        ConfigurationError: when made, if the directory is in use or its tables are not the files' tables.
    """

    def __init__(self, directory: Path, datasources: Iterable[Datasource]) -> None:
        self._held = lock_directory(directory)
        path = str(directory.resolve() / "clickhouse")
        self._writer = Session(path)
        self._writer.query("SET session_timezone = 'UTC'")
        self._sorters: dict[str, RowSorter] = {}
        for datasource in datasources:
            self._sorters[datasource.name] = RowSorter(datasource)
            self._writer.query(create_table(datasource))
            self._writer.query(create_quarantine(datasource))
            self._require_same_columns(datasource, directory)
        self._reader = Session(path)
        for name, value in {
            "session_timezone": "'UTC'",
            "output_format_json_quote_64bit_integers": 0,
            "max_execution_time": MAX_QUERY_SECONDS,
            "max_memory_usage": MAX_QUERY_MEMORY_BYTES,
            "readonly": 1,  # the last: nothing can be set after it
        }.items():
            self._reader.query(f"SET {name} = {value}")

    def has(self, name: str) -> bool:
        """Tell whether there is a datasource of this name."""
        return name in self._sorters

    def append(self, name: str, body: bytes) -> AppendResult:
        """Write an NDJSON body's rows; those that don't fit go to the quarantine.

        Raises:
            UnknownDatasourceError: if there is no such datasource.
            NotNdjsonError: if the body is no NDJSON; nothing is written.
        """
        sorter = self._sorters.get(name)
        if sorter is None:
            raise UnknownDatasourceError(name)
        rows = sorter.sort(body)
        refused: Sequence[UnfitRow] = ()
        if rows.fit_count:
            refused = self._insert_all_but_refused(name, rows.fit)
        unfit = [*rows.unfit, *refused]
        if unfit:
            self._quarantine(name, unfit)
        return AppendResult(rows.fit_count - len(refused), len(unfit))

    def delete(self, name: str, condition: str) -> None:
        """Delete the rows that a condition holds for.

        Raises:
            QueryError: with ClickHouse's own words.
        """
        try:
            self._writer.query(f"ALTER TABLE `{name}` DELETE WHERE ({condition}\n) SETTINGS mutations_sync=1")
        except RuntimeError as error:
            raise QueryError(str(error)) from None

    def query(self, query: str) -> QueryResult:
        """Answer a query that reads; in JSON unless it names another format.

        Raises:
            QueryError: with ClickHouse's own words.
        """
        # ClickHouse's parser decides what the text is: it also refuses a second statement behind the first.
        # In base64, because parameters have escapes of their own.
        encoded = base64.b64encode(query.encode()).decode()
        formatted = self._ask("SELECT formatQuery(base64Decode({q:String}))", "TSVRaw", {"q": encoded}).decode()
        if not is_read(formatted):
            raise QueryError("only SELECT, WITH, DESCRIBE, SHOW and EXPLAIN can be asked here, without INTO OUTFILE")
        return QueryResult(output_format(formatted) or "JSON", self._ask(query, "JSON"))

    def close(self) -> None:
        """Close the tables and let go of the directory."""
        self._reader.close()
        self._writer.close()
        self._held.release()

    def _ask(self, query: str, output: str, params: dict[str, str] | None = None) -> bytes:
        try:
            answer: bytes = self._reader.query(query, output, params=params).bytes()
        except RuntimeError as error:
            raise QueryError(str(error)) from None
        return answer

    def _insert(self, table: str, rows: bytes) -> None:
        insert = self._writer.send_insert(f"INSERT INTO `{table}` {_INSERT_SETTINGS}", "JSONEachRow")
        try:
            insert.append(rows)
            insert.finish()
        finally:
            insert.cancel()

    def _insert_all_but_refused(self, table: str, body: bytes) -> list[UnfitRow]:
        """Insert rows that fit by their types; return those that ClickHouse refuses all the same."""
        refused: list[UnfitRow] = []
        while body:
            try:
                self._insert(table, body)
                break
            except RuntimeError as error:
                named = _REFUSED_ROW.search(str(error))
                if named is None or len(refused) == MAX_ENGINE_REFUSALS:
                    raise
                lines = [line for line in body.split(b"\n") if line.strip()]
                line = lines.pop(int(named[1]) - 1)
                refused.append(UnfitRow(parse_object(line, int(named[1])), "", str(error)))
                body = b"\n".join(lines)
        return refused

    def _quarantine(self, name: str, unfit: Iterable[UnfitRow]) -> None:
        import_id = clock.new_id()
        rows = (
            {
                **{key: _as_text(value) for key, value in row.values.items()},
                "c__error_column": [row.column] if row.column else [],
                "c__error": [row.error],
                "c__import_id": import_id,
            }
            for row in unfit
        )
        self._insert(name + QUARANTINE_SUFFIX, b"\n".join(map(msgspec.json.encode, rows)))

    def _require_same_columns(self, datasource: Datasource, directory: Path) -> None:
        answer = self._writer.query(f"DESCRIBE TABLE `{datasource.name}`", "JSONCompact").bytes()
        existing = {(name, kind.replace(" ", "")) for name, kind, *_ in msgspec.json.decode(answer)["data"]}
        wanted = {(column.name, column.type.replace(" ", "")) for column in datasource.columns}
        if existing != wanted:
            differing = ", ".join(sorted({name for name, _ in existing ^ wanted}))
            raise ConfigurationError(
                f"{directory} has {datasource.name} with other columns than its file ({differing}); "
                "remove that directory to begin anew"
            )


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
