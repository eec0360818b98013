"""``tracker dead-letters``: list rejected records, export them, send them again."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import typer

from tracker.cli.options import command_settings, time_ms
from tracker.errors import NotFoundError

if TYPE_CHECKING:
    from topics.dead_letter import Stage
    from tracker.cli.views.dead_letters import DeadLettersView
    from tracker.dead_letters.letters import Filter, StoredLetter
    from tracker.dead_letters.retry import RetrySummary
    from tracker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Records that could not be taken: list, show, export, send again.")

Result = TypeVar("Result")

StateOption = Literal["open", "begun", "retried", "all"]

#: Letters that ``list`` shows unless told otherwise.
LIST_LIMIT = 100


def _known(reasons: list[str] | None) -> list[str] | None:
    from topics.dead_letter import RejectReason

    known = get_args(RejectReason)
    for reason in reasons or ():
        if reason not in known:
            raise typer.BadParameter(f"{reason!r} is none of {', '.join(known)}")
    return reasons


Reason = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only these; may be given several times.", callback=_known),
]
StageOption = Annotated[
    Literal["process", "sink"] | None, typer.Option("--stage", help="Only what this stage rejected.")
]
Workspace = Annotated[str | None, typer.Option("--workspace", help="Only records that name this workspace.")]
From = Annotated[str | None, typer.Option("--from", help="Failed at or after this time (2026-11-01T00:00Z).")]
To = Annotated[str | None, typer.Option("--to", help="Failed before this time.")]
Places = Annotated[list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]...", help="Only these letters.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("list")
def list_letters(
    *,
    reason: Reason = None,
    stage: StageOption = None,
    workspace: Workspace = None,
    since: From = None,
    to: To = None,
    state: Annotated[StateOption, typer.Option(help="What became of them.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="Show this many at most.")] = LIST_LIMIT,
    as_json: Json = False,
) -> None:
    """List dead letters and count them by reason.

    For example:

      tracker dead-letters list --from 2026-11-24T03:00Z

      tracker dead-letters list --reason refused --stage sink --json
    """
    from tracker.cli.views.dead_letters import DeadLettersView

    meant = _filter(reason=reason, stage=stage, workspace=workspace, since=since, to=to, state=state)
    reasons: Counter[str] = Counter()
    shown: list[StoredLetter] = []

    async def work(settings: "Settings") -> None:
        async for stored in _letters(settings, meant):
            reasons[stored.letter.reason] += 1
            if len(shown) < limit:
                shown.append(stored)

    _run(work)
    DeadLettersView(as_json=as_json).letters(shown, reasons, meant.state)


@app.command()
def show(place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET")], *, as_json: Json = False) -> None:
    """Show one letter with its raw record, decoded; nothing in it reaches your terminal as a command.

    Example: tracker dead-letters show 3:17
    """
    from tracker.cli.views.dead_letters import DeadLettersView
    from tracker.dead_letters.letters import Place

    wanted = Place.parse(place)

    async def work(settings: "Settings") -> "list[StoredLetter]":
        return [stored async for stored in _letters(settings, _filter(places=[place]))]

    found = _run(work)
    if not found:
        raise NotFoundError(f"there is no dead letter {wanted}; tracker dead-letters list --state all shows them")
    DeadLettersView(as_json=as_json).letter(found[0])


@app.command()
def export(
    places: Places = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: standard output.")] = None,
    reason: Reason = None,
    stage: StageOption = None,
    workspace: Workspace = None,
    since: From = None,
    to: To = None,
    state: Annotated[StateOption, typer.Option(help="What became of them.")] = "all",
) -> None:
    """Write letters as NDJSON, one a line, with their raw records in base64.

    Example: tracker dead-letters export --reason invalid -o invalid.ndjson
    """
    from tracker.cli.views.dead_letters import DeadLettersView, as_line

    meant = _filter(places=places, reason=reason, stage=stage, workspace=workspace, since=since, to=to, state=state)

    async def work(settings: "Settings") -> int:
        count = 0
        with nullcontext(sys.stdout) if output is None else output.open("w", encoding="ascii") as file:
            async for stored in _letters(settings, meant):
                file.write(as_line(stored))
                count += 1
        return count

    DeadLettersView().exported(_run(work))


@app.command()
def retry(
    places: Places = None,
    *,
    reason: Reason = None,
    stage: StageOption = None,
    workspace: Workspace = None,
    since: From = None,
    to: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Send the records of open letters again, through the front door, each once.

    What the processor rejected goes into the source topic again and is numbered as the latest event. Rows
    that Tinybird refused go into their output topic again, with the numbers that they have. Run it as often as you
    like: no record is sent twice, and one that fails again is a new letter with one attempt more.

    For example:

      tracker dead-letters retry --reason refused --dry-run

      tracker dead-letters retry 3:17 3:18 --yes
    """
    from tracker.cli.views.dead_letters import DeadLettersView

    view = DeadLettersView()
    meant = _filter(places=places, reason=reason, stage=stage, workspace=workspace, since=since, to=to, state="open")
    summary = _run(lambda settings: _retry(settings, meant, view, dry_run=dry_run, yes=yes))
    if summary is None:
        raise typer.Exit(1)
    view.retried(summary, dry_run=dry_run)


async def _retry(
    settings: "Settings", meant: "Filter", view: "DeadLettersView", *, dry_run: bool, yes: bool
) -> "RetrySummary | None":
    from tracker.dead_letters.letters import read_fates
    from tracker.dead_letters.retry import Retry
    from tracker.kafka.access import require_access
    from tracker.kafka.clients import new_producer
    from tracker.kafka.log_reader import open_log_reader

    await require_access(settings, "dead-letters")
    client_id = f"{settings.topic_prefix}dead-letters"
    async with (
        open_log_reader(settings, client_id) as letters,
        open_log_reader(settings, client_id) as logs,
        new_producer(settings, client_id) as producer,
    ):
        fates = await read_fates(settings, letters)
        work = Retry(settings, letters=letters, logs=logs, producer=producer, fates=fates)
        planned, summary = await work.preview(meant)
        view.planned(planned, dry_run=dry_run)
        if dry_run or not planned:
            return summary
        if not yes and not typer.confirm("send them?"):
            return None
        view.settled(await work.settle())
        with view.sending(planned.total()) as report:
            return await work.run(meant, report)


async def _letters(settings: "Settings", meant: "Filter") -> "AsyncIterator[StoredLetter]":
    from tracker.cli.views.dead_letters import DeadLettersView
    from tracker.dead_letters.letters import read_fates, read_letters
    from tracker.kafka.access import require_access
    from tracker.kafka.log_reader import open_log_reader

    await require_access(settings, "dead-letters")
    async with open_log_reader(settings, f"{settings.topic_prefix}dead-letters") as reader:
        fates = await read_fates(settings, reader)
        for place in fates.unreadable:
            DeadLettersView().unreadable(place)
        async for stored in read_letters(settings, reader, fates, meant):
            yield stored


def _filter(
    *,
    places: list[str] | None = None,
    reason: list[str] | None = None,
    stage: "Stage | None" = None,
    workspace: str | None = None,
    since: str | None = None,
    to: str | None = None,
    state: str = "all",
) -> "Filter":
    from tracker.dead_letters.letters import Filter, Place

    return Filter(
        places=frozenset(map(Place.parse, places or ())),
        reasons=frozenset(reason or ()),
        stage=stage,
        workspace_id=workspace,
        from_ms=time_ms(since),
        to_ms=time_ms(to),
        state=state,
    )


def _run(work: Callable[["Settings"], Coroutine[Any, Any, Result]]) -> Result:
    return asyncio.run(work(command_settings()))
