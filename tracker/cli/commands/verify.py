"""``tracker verify``: proves the promise on the user's own data."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.options import command_settings, time_ms
from tracker.errors import ConfigurationError

if TYPE_CHECKING:
    from tracker.verify.report import Check

EXIT_FAULTS = 3
#: Faults of one check that are shown; JSON has more.
FAULTS_SHOWN = 10


def verify(
    *,
    workspace: Annotated[str | None, typer.Option(help="Only this workspace's rows.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Events at or after this time (2026-11-01T00:00Z).")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Events before this time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Prove that every event is there once, with its number, and as the log has it.

    What the sink has not committed yet is on its way and no fault. Exit codes: 0 all holds, 1 it can't be looked at,
    3 something does not hold.

    For example:

      tracker verify

      tracker verify --workspace w1 --from 2026-11-24T00:00Z --json
    """
    from tracker.tinybird.sql import QueryRefused
    from tracker.verify.hashes import Scope
    from tracker.verify.run import verify as look

    scope = Scope(workspace, time_ms(since), time_ms(to))
    try:
        checks = asyncio.run(look(command_settings(), scope))
    except QueryRefused as error:
        needed = (
            "TRACKER_TINYBIRD_READ_TOKEN (or TRACKER_TINYBIRD_TOKEN) needs DATASOURCE:READ for events_v1 and session_v1"
        )
        raise ConfigurationError(f"{error}; {needed}") from error
    holds = all(check.holds for check in checks)
    if as_json:
        typer.echo(json.dumps({"holds": holds, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        _print(checks)
    if not holds:
        raise typer.Exit(EXIT_FAULTS)


def _print(checks: "list[Check]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tracker.dead_letters.shown import inert

    table = Table()
    table.add_column("check", no_wrap=True)
    table.add_column("promise", overflow="fold")
    table.add_column("looked at", justify="right")
    table.add_column("faults", justify="right")
    for check in checks:
        style = "green" if check.holds else "bold red"
        table.add_row(check.name, check.promise, str(check.looked_at), Text(str(check.fault_count), style=style))
    Console().print(table)
    for check in checks:
        for fault in check.faults[:FAULTS_SHOWN]:
            typer.echo(f"{check.name}: {inert(fault)}")
        if check.fault_count > FAULTS_SHOWN:
            typer.echo(f"{check.name}: and {check.fault_count - FAULTS_SHOWN} more")
        for note in check.notes:
            typer.echo(f"{check.name}: {note}")
    if all(check.holds for check in checks):
        typer.echo("all holds")
