"""What ``tracker migration`` shows: the steps of the flags file, and how the two lanes compare."""

from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from tracker.cli.views.terminal import print_json, print_table
from tracker.migration.flags import Flags, Step


class MigrationView:
    """Flags and reports for a person, or for a machine."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json

    def flags(self, flags: Flags, now_ms: int) -> None:
        """Show the steps, and which of them are in effect."""
        if self._as_json:
            typer.echo(flags.model_dump_json(by_alias=True, exclude_defaults=True, indent=2))
            return
        for step in flags.steps:
            _print_step(step, now_ms)

    def added(self, path: Path, starts: datetime) -> None:
        """Say that a step was added to the flags file."""
        typer.echo(f"{path}: a step from {starts.isoformat()}")

    def report(self, summary: dict[str, Any]) -> None:
        """Show what each lane got and where they differ."""
        if self._as_json:
            print_json(summary)
            return
        typer.echo(f"from {summary['since']} to {summary['until']}")
        print_table(("workspace", "type", "tracker", "legacy"), _rows(summary), numbers=("tracker", "legacy"))
        for what in ("repeated", "without_event_id", "left_out"):
            counts = summary[what]
            if any(counts.values()):
                typer.echo(f"{what.replace('_', ' ')}: tracker {counts['tracker']}, legacy {counts['legacy']}")
        if summary["same"]:
            typer.echo("both lanes got the same")
            return
        for what, count in summary["differences"].items():
            typer.echo(f"{what}: {count}")
        for one in summary["first_differences"]:
            typer.echo(f"  {one['what']}: session {one['session_id']}, event {one['event_id']}")


def _print_step(step: Step, now_ms: int) -> None:
    state = "in effect" if step.starts_ms <= now_ms else "to come"
    typer.echo(f"{state} for sessions born from {step.starts.isoformat(timespec='seconds')}")
    for name, rule in (("everybody else" if step.workspaces else "everybody", step), *step.workspaces.items()):
        shares = [f"{rule.tracker_percent:g} % tracker"] if rule.tracker_percent else []
        shares += [f"{rule.shadow_percent:g} % shadow"] if rule.shadow_percent else []
        typer.echo(f"  {name}: {', '.join([*shares, f'the rest {rule.lane}' if shares else rule.lane])}")


def _rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (row["workspace_id"] or "-", row["type"], str(row["tracker"]), str(row["legacy"])) for row in summary["counts"]
    ]
    sessions = summary["sessions"]
    return [*rows, ("", "sessions", str(sessions["tracker"]), str(sessions["legacy"]))]
