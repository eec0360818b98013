"""``tracker verify``: proves the promise on the user's own data."""

import asyncio
from typing import Annotated

import typer

from tracker.cli.options import command_settings, time_ms
from tracker.errors import ConfigurationError

EXIT_FAULTS = 3


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
    from tracker.cli.views.verify import VerifyView
    from tracker.tinybird.sql import QueryRefused
    from tracker.verify.hashes import Scope
    from tracker.verify.run import verify as look

    scope = Scope(workspace, time_ms(since), time_ms(to))
    try:
        checks = asyncio.run(look(command_settings(), scope))
    except QueryRefused as error:
        needed = (
            "TRACKER_TINYBIRD_READ_TOKEN (or TRACKER_TINYBIRD_TOKEN) needs DATASOURCE:READ for events_v1, session_v1 "
            "and, where usage is counted, usage_v1"
        )
        raise ConfigurationError(f"{error}; {needed}") from error
    holds = all(check.holds for check in checks)
    VerifyView(as_json=as_json).checks(checks, holds=holds)
    if not holds:
        raise typer.Exit(EXIT_FAULTS)
