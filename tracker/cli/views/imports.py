"""What ``tracker import`` shows while it reads files and writes the log."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tracker.cli.views.terminal import print_json_line
from tracker.imports.coverage import Coverage
from tracker.imports.records import Rejects
from tracker.imports.writing import Written

#: Values that are named for a person; JSON has them all.
SHOWN_VALUES: Final = 10


class ImportView:
    """For a person lines and a spinner, for a machine JSON lines."""

    def __init__(self, rejects: Rejects, coverage: Coverage, *, as_json: bool) -> None:
        self._rejects = rejects
        self._coverage = coverage
        self._as_json = as_json
        self._console = Console(highlight=False)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Written], None]]:
        """Show how far the log is while the block runs."""
        columns = SpinnerColumn(), TextColumn("[bold]import"), TextColumn("{task.fields[at]}"), TimeElapsedColumn()
        hidden = self._as_json or not self._console.is_terminal
        with Progress(*columns, console=self._console, disable=hidden) as bar:
            task = bar.add_task("import", at="")
            yield lambda written: bar.update(task, at=f"{written.new + written.present:,} events")

    def wrote(self, written: Written) -> None:
        """Say what the log holds now."""
        if self._as_json:
            print_json_line("written", {"present": written.present, "new": written.new, **self._counts()})
            return
        there = f", {written.present:,} were there already" if written.present else ""
        typer.echo(f"log: {written.new:,} events written{there}, {self._rejects.count:,} rows rejected")
        self._details()

    def checked(self, records: int) -> None:
        """Say what a dry run found."""
        if self._as_json:
            print_json_line("checked", {"events": records, **self._counts()})
            return
        typer.echo(f"{records:,} events could be imported, {self._rejects.count:,} rows could not; nothing was written")
        self._details()
        filled = ", ".join(f"{field} {count:,}" for field, count in sorted(self._coverage.filled.items()))
        typer.echo(f"  fields and how many rows fill them: {filled or 'none'}")

    def _counts(self) -> dict[str, Any]:
        coverage = self._coverage
        return {
            "rejected": self._rejects.count,
            "dropped": dict(coverage.dropped),
            "defaulted": dict(coverage.defaulted),
            "filled": dict(coverage.filled),
        }

    def _details(self) -> None:
        for reason in self._rejects.first:
            typer.echo(f"  {reason}")
        if self._rejects.count > len(self._rejects.first):
            typer.echo(f"  and {self._rejects.count - len(self._rejects.first):,} more")
        _say("left out, as the mapping says", self._coverage.dropped)
        _say("unknown values that became the default", self._coverage.defaulted)


def _say(what: str, counted: Counter[str]) -> None:
    if counted:
        shown = ", ".join(f"{name} {count:,}" for name, count in counted.most_common(SHOWN_VALUES))
        more = f" and {len(counted) - SHOWN_VALUES:,} others" if len(counted) > SHOWN_VALUES else ""
        typer.echo(f"  {what}: {counted.total():,} rows ({shown}{more})")
