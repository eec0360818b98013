"""Shared by all views: tables that can be piped, JSON, and foreign text that can't control a terminal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NOT_IN_TSV: Final = str.maketrans("\t", " ")


def inert(text: str) -> str:
    """Return a text with all that a terminal would obey, or that turns its direction, written out as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def iso(milliseconds: int, timespec: str = "milliseconds") -> str:
    """Return a time as ISO 8601 in UTC; out of range, as the number that it is."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")


def print_json(value: Any) -> None:
    """Print one JSON document for a machine."""
    typer.echo(json.dumps(value, indent=2))


def print_json_line(kind: str, fields: Mapping[str, Any]) -> None:
    """Print one line of a stream of JSON lines."""
    typer.echo(json.dumps({"type": kind, **fields}))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    whole: Sequence[str] = (),
    numbers: Sequence[str] = (),
) -> None:
    """Print a table: for a terminal with lines around it, into a pipe as tab-separated values, each row in one line.

    Args:
        columns: The names.
        rows: The cells; text from outside is made inert.
        whole: Columns whose cells are never broken over lines.
        numbers: Columns that are aligned to the right.
    """
    console = Console()
    if not console.is_terminal:
        typer.echo("\t".join(columns))
        for row in rows:
            typer.echo("\t".join(inert(str(cell).translate(_NOT_IN_TSV)) for cell in row))
        return
    table = Table()
    for column in columns:
        table.add_column(
            column,
            no_wrap=column in whole,
            overflow="fold",
            justify="right" if column in numbers else "left",
        )
    for row in rows:
        table.add_row(*(Text(inert(str(cell)), style=cell.style if isinstance(cell, Text) else "") for cell in row))
    console.print(table)
