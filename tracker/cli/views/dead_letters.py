"""What ``tracker dead-letters`` shows: tables, one letter whole, NDJSON."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from tracker.cli.views.terminal import inert, iso, print_json, print_table
from tracker.dead_letters.letters import Place, StoredLetter
from tracker.dead_letters.retry import RetrySummary

#: Of a value only this much is shown; ``export`` has it whole.
MAX_SHOWN_CHARS: Final = 20_000
#: Of a detail the table shows only this much.
DETAIL_CHARS: Final = 120
#: Letters whose reason not to send them again is shown.
SKIPPED_SHOWN: Final = 20

_COLUMNS: Final = ("letter", "failed", "reason", "stage", "workspace", "attempts", "state", "source", "detail")


class DeadLettersView:
    """Letters for a person, or for a machine."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    def letters(self, shown: Sequence[StoredLetter], reasons: Counter[str], state: str) -> None:
        """Show letters, and how many there are by reason."""
        if self._as_json:
            values = [as_value(stored, raw=False) for stored in shown]
            print_json({"letters": values, "total": reasons.total(), "by_reason": reasons})
            return
        if not shown:
            typer.echo("no dead letters" if state == "all" else f"no dead letters that are {state}")
            return
        print_table(_COLUMNS, map(_row, shown), whole=("letter", "failed", "reason"))
        counted = ", ".join(f"{count} {name}" for name, count in reasons.most_common())
        more = reasons.total() - len(shown)
        said = f"{reasons.total()} in all: {counted}" + (f"; {more} not shown (--limit)" if more else "")
        typer.echo(said, err=not sys.stdout.isatty())

    def letter(self, stored: StoredLetter) -> None:
        """Show one letter with its raw record, decoded."""
        letter = stored.letter
        if self._as_json:
            decoded = {"key": readable(letter.key), "value": readable(letter.value)}
            print_json({**as_value(stored, raw=True), "readable": decoded})
            return
        for name, value in as_value(stored, raw=False).items():
            if not name.endswith("_ms") and value is not None:
                typer.echo(f"{name:<20} {inert(str(value))}")
        for name, raw in letter.headers:
            typer.echo(f"{'header':<20} {inert(name)}: {readable(raw)}")
        typer.echo(f"{'key':<20} {readable(letter.key)}")
        typer.echo(f"value\n{readable(letter.value)}")

    def exported(self, count: int) -> None:
        """Say how many letters were written."""
        typer.echo(f"{count} letters", err=True)

    def unreadable(self, place: Place) -> None:
        """Say that a record of the topic is no dead letter."""
        typer.echo(f"  {place} is no dead letter; another program wrote it", err=True)

    def planned(self, counts: Mapping[str, int], *, dry_run: bool) -> None:
        """Say how many records a retry sends where."""
        for topic, count in counts.items():
            typer.echo(f"{count} records {'would go' if dry_run else 'go'} into {topic}")

    def settled(self, count: int) -> None:
        """Say how many records an interrupted run had sent."""
        if count:
            typer.echo(f"{count} had been sent by a run that was interrupted; they are not sent again")

    @contextmanager
    def sending(self, total: int) -> Iterator[Callable[[int], None]]:
        """Show how many of the records are sent while the block runs."""
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("sending", total=total)
            yield lambda count: bar.advance(task, count)

    def retried(self, summary: RetrySummary, *, dry_run: bool) -> None:
        """Say what a retry did, and which letters it left and why."""
        if not dry_run:
            typer.echo(f"{summary.sent} records sent again, {len(summary.skipped)} letters left as they are")
        for skipped in islice(summary.skipped, SKIPPED_SHOWN):
            typer.echo(f"  {skipped.place} left: {skipped.why}", err=True)


def as_line(stored: StoredLetter) -> str:
    """Return a letter as a line of NDJSON, its raw record in base64."""
    return json.dumps(as_value(stored, raw=True)) + "\n"


def as_value(stored: StoredLetter, *, raw: bool) -> dict[str, Any]:
    """Return a letter for a machine: its place, its state and all its fields, with or without the raw bytes."""
    letter = stored.letter.model_dump(exclude=None if raw else {"key_base64", "value_base64", "headers_base64"})
    times = {
        name.removesuffix("_ms"): iso(letter[name])
        for name in ("source_timestamp_ms", "first_failed_at_ms", "last_failed_at_ms")
    }
    return {
        "letter": str(stored.place),
        "state": stored.state,
        **letter,
        **times,
        "attempts": stored.letter.attempts,
    }


def readable(raw: bytes | None) -> str:
    """Return raw bytes as a person can read them: JSON set out over lines, else text, with the rest escaped."""
    if raw is None:
        return "none"
    text = raw.decode("utf-8", "backslashreplace")
    lines = [text]
    with suppress(ValueError, RecursionError):  # no JSON: it is shown as it is
        lines = json.dumps(json.loads(text), indent=2, ensure_ascii=False).split("\n")
    shown = "\n".join(map(inert, lines))
    more = len(shown) - MAX_SHOWN_CHARS
    return f"{shown[:MAX_SHOWN_CHARS]} … and {more} characters more" if more > 0 else shown


def _row(stored: StoredLetter) -> tuple[str, ...]:
    letter = stored.letter
    return (
        str(stored.place),
        iso(letter.last_failed_at_ms),
        letter.reason,
        letter.stage,
        letter.workspace_id or "",
        str(letter.attempts),
        stored.state,
        f"{letter.source_topic}-{letter.source_partition} @ {letter.source_offset}",
        letter.detail[:DETAIL_CHARS],
    )
