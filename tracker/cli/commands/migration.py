"""``tracker migration``: show and set the flags, and compare what both lanes got."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker import clock
from tracker.cli.options import command_settings, load_settings
from tracker.errors import ConfigurationError

if TYPE_CHECKING:
    from tracker.migration.flags import Flags
    from tracker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Move from the queue to the tracker step by step.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
File = Annotated[Path | None, typer.Option(help="The flags file. \\[TRACKER_MIGRATION_FILE]")]
Percent = Annotated[float, typer.Option(min=0, max=100)]


@app.command()
def show(file: File = None, *, as_json: Json = False) -> None:
    """Check the flags file and show its steps.

    Example: tracker migration show --file migration.toml
    """
    from tracker.cli.views.migration import MigrationView

    MigrationView(as_json=as_json).flags(_flags(load_settings(migration_file=file)), clock.now_ms())


@app.command(name="set")
def set_(
    lane: Annotated[str, typer.Argument(help="tracker, legacy or shadow.")],
    *,
    tracker_percent: Percent = 0.0,
    shadow_percent: Percent = 0.0,
    workspace: Annotated[str | None, typer.Option(help="For this workspace only.")] = None,
    in_seconds: Annotated[
        int, typer.Option(min=10, help="When it takes effect: every collector must know by then.")
    ] = 60,
    file: File = None,
) -> None:
    """Add a step to the flags file, which running collectors read within seconds; begun sessions stay in their lane.

    Example, a tenth of the sessions to both lanes: tracker migration set legacy --shadow-percent 10
    """
    from pydantic import ValidationError

    from tracker.cli.views.migration import MigrationView
    from tracker.migration.flags import Flags, write_flags

    settings = load_settings(migration_file=file)
    path = settings.migration_file
    if path is not None and path.suffix == ".toml":
        raise ConfigurationError(f"{path}: TOML is yours to edit; set writes JSON")
    starts = datetime.fromtimestamp(clock.now_ms() // 1_000, UTC) + timedelta(seconds=in_seconds)
    rule = {"lane": lane, "tracker_percent": tracker_percent, "shadow_percent": shadow_percent}
    steps = _with_step(_flags(settings, or_empty=True), rule, workspace, starts)
    try:
        flags = Flags.model_validate({"steps": steps})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise ConfigurationError("; ".join(str(problem["msg"]) for problem in problems)) from None
    assert path is not None  # noqa: S101 - _flags has checked it
    write_flags(path, flags)
    MigrationView().added(path, starts)


def _with_step(old: "Flags | None", rule: dict[str, Any], workspace: str | None, starts: datetime) -> list[Any]:
    """Return the steps of a flags file with one more, which changes the rule for everybody or for one workspace."""
    last: dict[str, Any] = old.steps[-1].model_dump(by_alias=True) if old else {"lane": "legacy", "workspaces": {}}
    step = {**last, "workspaces": {**last["workspaces"], workspace: rule}} if workspace else {**last, **rule}
    step["from"] = starts
    # Before the first step every session took the old way.
    before = [one.model_dump(by_alias=True) for one in old.steps] if old else []
    return [*(before or [{"from": datetime(2000, 1, 1, tzinfo=UTC), "lane": "legacy"}]), step]


@app.command()
def report(
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S"], help="UTC; default: an hour ago.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S"], help="UTC; default: a minute ago.")
    ] = None,
    file: File = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Compare all sessions, not only those in both lanes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare what both lanes got from sessions in shadow; exit code 1 if they differ.

    Times are the broker's. Example: tracker migration report --since 2026-11-25T10:00:00 --until 2026-11-25T11:00:00
    """
    from tracker.cli.views.migration import MigrationView
    from tracker.migration.flags import BOTH
    from tracker.migration.report import compare

    settings = command_settings(migration_file=file)
    now_ms = clock.now_ms()
    since_ms = now_ms - 3_600_000 if since is None else _ms(since)
    until_ms = now_ms - 60_000 if until is None else _ms(until)
    if since_ms >= until_ms:
        raise ConfigurationError("--since must lie before --until")
    flags = None if everything else _flags(settings)
    overlap_ms = settings.session_max_length_seconds * 1_000

    def compares(session_id: str, workspace_id: str, timestamp_ms: int) -> bool:
        return (
            flags is None or flags.lanes(session_id, workspace_id, now_ms=timestamp_ms, overlap_ms=overlap_ms) == BOTH
        )

    summary = asyncio.run(compare(settings, since_ms, until_ms, compares)).summary()
    summary = {"since": _iso(since_ms), "until": _iso(until_ms), **summary}
    MigrationView(as_json=as_json).report(summary)
    if not summary["same"]:
        raise typer.Exit(1)


def _flags(settings: "Settings", *, or_empty: bool = False) -> "Any":
    from tracker.migration.flags import read_flags

    path = settings.migration_file
    if path is None:
        raise ConfigurationError("there is no flags file: set TRACKER_MIGRATION_FILE or give --file")
    if or_empty and not path.exists():
        return None
    return read_flags(path)


def _ms(when: datetime) -> int:
    return int(when.replace(tzinfo=UTC).timestamp() * 1_000)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="seconds")
