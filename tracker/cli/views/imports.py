"""What ``tracker import`` shows while it reads files and writes the log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tracker.cli.views.terminal import print_json_line
from tracker.imports.run import Rejects
from tracker.imports.writing import Written


class ImportView:
    """For a person lines and a spinner, for a machine JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
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

    def wrote(self, written: Written, rejects: Rejects) -> None:
        """Say what the log holds now."""
        if self._as_json:
            print_json_line("written", {"present": written.present, "new": written.new, "rejected": rejects.count})
            return
        there = f", {written.present:,} were there already" if written.present else ""
        typer.echo(f"log: {written.new:,} events written{there}, {rejects.count:,} rows rejected")
        self._reasons(rejects)

    def checked(self, records: int, rejects: Rejects) -> None:
        """Say what a dry run found."""
        if self._as_json:
            print_json_line("checked", {"events": records, "rejected": rejects.count})
            return
        typer.echo(f"{records:,} events could be imported, {rejects.count:,} rows could not; nothing was written")
        self._reasons(rejects)

    def _reasons(self, rejects: Rejects) -> None:
        for reason in rejects.first:
            typer.echo(f"  {reason}")
        if rejects.count > len(rejects.first):
            typer.echo(f"  and {rejects.count - len(rejects.first):,} more")
