"""What ``tracker verify`` shows: the checks, their faults, the verdict."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import typer
from rich.text import Text

from tracker.cli.views.terminal import inert, print_json, print_table
from tracker.verify.report import Check

#: Faults of one check that are shown; JSON has more.
FAULTS_SHOWN: Final = 10


class VerifyView:
    """The checks for a person, or for a machine."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def checks(self, checks: Sequence[Check], *, holds: bool) -> None:
        """Show every check, and the first faults of each."""
        if self._as_json:
            print_json({"holds": holds, "checks": [asdict(check) for check in checks]})
            return
        print_table(
            ("check", "promise", "looked at", "faults"),
            map(_row, checks),
            whole=("check",),
            numbers=("looked at", "faults"),
        )
        for check in checks:
            for fault in check.faults[:FAULTS_SHOWN]:
                typer.echo(f"{check.name}: {inert(fault)}")
            if check.fault_count > FAULTS_SHOWN:
                typer.echo(f"{check.name}: and {check.fault_count - FAULTS_SHOWN} more")
            for note in check.notes:
                typer.echo(f"{check.name}: {note}")
        if holds:
            typer.echo("all holds")


def _row(check: Check) -> tuple[str | Text, ...]:
    style = "green" if check.holds else "bold red"
    return check.name, check.promise, str(check.looked_at), Text(str(check.fault_count), style=style)
