"""``tracker replay``: fold the log again, into a separate generation."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.options import DataDir, command_settings, load_settings
from tracker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracker.replay.plan import Request, TargetKind
    from tracker.settings import Settings

app = typer.Typer(invoke_without_command=True)

EXIT_DIFFERENCES = 3
EXIT_INTERRUPTED = 130

Name = Annotated[str, typer.Option("--name", help="The generation: the same name resumes it.")]
Begin = Annotated[str, typer.Option("--from", help="Time (2026-11-01T00:00Z), offset, or 'earliest'.")]
End = Annotated[str, typer.Option("--to", help="Time, offset, or 'latest'; not included.")]
Partitions = Annotated[str, typer.Option(help="Only these, such as 0,3,5.")]
Workspace = Annotated[str, typer.Option(help="Write only this workspace's outputs.")]
Compare = Annotated[bool, typer.Option("--compare", help="Write nothing; compare every output with the live one.")]
Datasource = Annotated[
    str, typer.Option(help="Write rows to EVENTS,SESSIONS instead of topics: whole sessions that began in the range.")
]
WarmUp = Annotated[
    int | None, typer.Option(min=0, help="Begin folding only this long before --from. Default: the log's start.")
]
Processes = Annotated[int | None, typer.Option(min=1, max=64, help="Default: one a core.")]
MaxRate = Annotated[int | None, typer.Option(min=100, help="Records a second at most, in all.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be read and written, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines instead of a progress bar.")]


@app.callback()
def replay(
    ctx: typer.Context,
    *,
    name: Name = "default",
    begin: Begin = "earliest",
    end: End = "latest",
    partitions: Partitions = "",
    workspace: Workspace = "",
    compare: Compare = False,
    datasource: Datasource = "",
    warm_up_seconds: WarmUp = None,
    processes: Processes = None,
    max_rate: MaxRate = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Fold a range of the log again, into a separate generation that never touches the live one.

    Interrupted (Ctrl-C, a crash), the same command goes on where it stopped. Exit codes: 0 done, 1 an error that the
    message explains, 3 --compare found differences, 130 interrupted.

    For example:

      tracker replay --compare                                   prove that the live outputs are right

      tracker replay --name fix --from 2026-11-01T00:00Z         into topics tracker.replay.fix.*

      tracker replay --name fix2 --from 2026-11-01 --datasource events_fix,sessions_fix

      tracker replay --from 2026-11-01 --warm-up-seconds 86400 --dry-run
    """
    if ctx.invoked_subcommand is not None:
        return
    from tracker.replay.plan import Request

    events, sessions = datasource_names(datasource) if datasource else ("", "")
    request = Request(
        name=valid_name(name),
        target=_target(compare=compare, datasource=datasource),
        begin=begin,
        end=end,
        warm_up_seconds=warm_up_seconds,
        partitions=_numbers(partitions),
        workspace=workspace,
        events_datasource=events,
        sessions_datasource=sessions,
    )
    settings = command_settings(data_dir=data_dir)
    raise typer.Exit(asyncio.run(carry_out(settings, request, processes, max_rate, dry_run=dry_run, as_json=as_json)))


def _target(*, compare: bool, datasource: str) -> "TargetKind":
    if compare and datasource:
        raise ConfigurationError("--compare writes nothing: leave out --datasource")
    return "compare" if compare else "datasource" if datasource else "topics"


async def carry_out(
    settings: "Settings",
    request: "Request",
    processes: int | None,
    max_rate: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Plan or resume a replay, run it, show it, and return the exit code."""
    from tracker.cli.views.replay import ReplayView
    from tracker.replay.run import prepare, run

    view = ReplayView(as_json=as_json)
    generation, plan, resumed = await prepare(settings, request, dry_run=dry_run)
    view.plan(generation, plan, resumed=resumed)
    if dry_run:
        return 0
    with view.progress(plan) as on_progress:
        cores = processes or os.cpu_count() or 1
        summary = await run(settings, generation, plan, processes=cores, max_rate=max_rate, on_progress=on_progress)
    view.summary(summary)
    if summary.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DIFFERENCES if summary.differences else 0


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The generation, replayed with --datasource.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a generation's sessions in the place of the live ones in events_v1 and session_v1.

    Says exactly which rows it will change, in numbers and conditions, then asks. It only touches sessions that have
    ended. The token needs DATASOURCES:CREATE as well as DATASOURCE:APPEND. Interrupted, it is simply run again.

    Example: tracker replay promote fix
    """
    raise typer.Exit(asyncio.run(_promote(command_settings(data_dir=data_dir), valid_name(name), yes=yes)))


async def _promote(settings: "Settings", name: str, *, yes: bool) -> int:
    from tracker.cli.views.replay import ReplayView
    from tracker.replay.generation import Generation
    from tracker.replay.promote import look, promotable
    from tracker.replay.promote import promote as carry_out
    from tracker.tinybird_clients import datasource_admin, query_api, tinybird_client

    plan = promotable(Generation(settings, name))
    async with (
        query_api(settings) as rows,
        datasource_admin(settings) as admin,
        tinybird_client(settings) as client,
    ):

        async def append(datasource: str, lines: "Sequence[bytes]") -> None:
            (await client.send_rows(datasource, lines)).require_all()

        promotion = await look(rows, plan)
        promotion.require_own_sessions()
        ReplayView().promotion(promotion)
        if promotion.changes_nothing:
            return 0
        if not yes and not typer.confirm("Do this?"):
            return 1
        await carry_out(rows, admin, append, promotion)
        left = await look(rows, plan)
    ReplayView().promoted(is_complete=left.changes_nothing)
    return 0 if left.changes_nothing else 1


@app.command()
def discard(
    name: Annotated[str, typer.Argument(help="The generation.")],
    data_dir: DataDir = None,
) -> None:
    """Remove a generation: its local state and its topics. Datasources stay as they are.

    Example: tracker replay discard fix
    """
    from tracker.cli.views.replay import ReplayView
    from tracker.replay.discard import discard as remove

    removed = asyncio.run(remove(command_settings(data_dir=data_dir), valid_name(name)))
    ReplayView().discarded(name, removed)


def replay_worker(
    name: Annotated[str, typer.Argument()],
    partitions: Annotated[str, typer.Option()],
    data_dir: DataDir = None,
    max_rate: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Run one process of a replay; ``tracker replay`` starts it."""
    import uvloop

    from tracker.observe.logs import configure_logging
    from tracker.processes.garbage_collection import look_for_cycles_rarely

    settings = load_settings(data_dir=data_dir)
    configure_logging(settings)
    look_for_cycles_rarely()
    raise typer.Exit(uvloop.run(_work(settings, name, _numbers(partitions), max_rate)))


async def _work(settings: "Settings", name: str, partitions: tuple[int, ...], max_rate: int | None) -> int:
    from tracker.replay.generation import Generation
    from tracker.replay.worker import run_worker
    from tracker.tinybird_clients import tinybird_client

    plan = Generation(settings, name).plan
    if plan is None or plan.request.target != "datasource":
        return await run_worker(settings, name, partitions, max_rate=max_rate, ingest=None)
    names = plan.request.events_datasource, plan.request.sessions_datasource
    async with tinybird_client(settings, events=names[0], sessions=names[1]) as client:

        async def ingest(events: "Sequence[bytes]", sessions: "Sequence[bytes]") -> None:
            pairs = zip(names, (events, sessions), strict=True)
            sent = (client.send_rows(datasource, rows) for datasource, rows in pairs if rows)
            for outcome in await asyncio.gather(*sent):
                outcome.require_all()

        return await run_worker(settings, name, partitions, max_rate=max_rate, ingest=ingest)


def datasource_names(text: str) -> tuple[str, str]:
    """Return the two names of ``EVENTS,SESSIONS``."""
    events, _, sessions = text.partition(",")
    if not (events.isidentifier() and sessions.isidentifier()):
        raise ConfigurationError("--datasource takes two names, such as events_fix,sessions_fix")
    return events, sessions


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise ConfigurationError(f"{text!r}: partitions are numbers with commas, such as 0,3,5") from None


def valid_name(name: str) -> str:
    """Return a generation's name unchanged, if it is valid in a path and in a topic's name."""
    if not name or len(name) > 40 or not all(char.isascii() and (char.isalnum() or char in "-_") for char in name):  # noqa: PLR2004
        raise ConfigurationError(f"{name!r}: a generation's name is 1 to 40 letters, digits, '-' or '_'")
    return name
