"""The SQL of the local Tinybird: tables from datasources, and which queries may be asked. Pure text."""

import re
from typing import Final

from tracker.datasources.files import Datasource

QUARANTINE_SUFFIX: Final = "_quarantine"

#: What a reader may ask, by the first word of the query as ClickHouse itself writes it out.
_READS: Final = frozenset({"SELECT", "WITH", "DESCRIBE", "SHOW", "EXPLAIN"})
#: String literals and quoted identifiers, in which words mean nothing.
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_INTO_OUTFILE: Final = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)
_FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)


def create_table(datasource: Datasource) -> str:
    """Return the statement that makes the datasource's table."""
    columns = ", ".join(
        f"`{column.name}` {column.type}" + (f" DEFAULT {column.default}" if column.default is not None else "")
        for column in datasource.columns
    )
    partition = f" PARTITION BY {datasource.partition_key}" if datasource.partition_key else ""
    return (
        f"CREATE TABLE IF NOT EXISTS `{datasource.name}` ({columns}) "
        f"ENGINE = {datasource.engine}({datasource.version_column or ''}){partition} "
        f"ORDER BY ({datasource.sorting_key})"
    )


def create_quarantine(datasource: Datasource) -> str:
    """Return the statement that makes the table of the rows that don't fit: their values as text, and why."""
    columns = ", ".join(f"`{column.name}` Nullable(String)" for column in datasource.columns)
    return (
        f"CREATE TABLE IF NOT EXISTS `{datasource.name}{QUARANTINE_SUFFIX}` "
        "(c__error_column Array(String), c__error Array(String), c__import_id Nullable(String), "
        f"{columns}, insertion_date DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY insertion_date"
    )


def is_read(formatted: str) -> bool:
    """Tell whether a query, as ``formatQuery`` writes it, only reads, and sends its answer to the client only."""
    bare = _QUOTED.sub("''", formatted)
    first = re.match(r"[\s(]*(\w+)", bare)
    return first is not None and first[1].upper() in _READS and not _INTO_OUTFILE.search(bare)


def output_format(formatted: str) -> str | None:
    """Return the format that the query asks for itself, if any."""
    match = _FORMAT.search(_QUOTED.sub("''", formatted))
    return match[1] if match else None
