"""``tracker dead-letters``: look at what could not be taken, export it, send it again."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import typer

from topics.dead_letter import RejectReason, Stage
from tracker.cli.options import command_settings, time_ms
from tracker.errors import NotFoundError

if TYPE_CHECKING:
    from tracker.dead_letters.letters import Filter, StoredLetter
    from tracker.dead_letters.retry import RetrySummary
    from tracker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Records that could not be taken: list, show, export, send again.")

Result = TypeVar("Result")

REASONS = get_args(RejectReason)

StateOption = Literal["open", "begun", "retried", "all"]

#: Letters that ``list`` shows unless told otherwise.
LIST_LIMIT = 100
#: Of a detail the table shows only this much.
DETAIL_CHARS = 120
#: Letters whose reason not to send them again is shown.
SKIPPED_SHOWN = 20


def _known(reasons: list[str] | None) -> list[str] | None:
    for reason in reasons or ():
        if reason not in REASONS:
            raise typer.BadParameter(f"{reason!r} is none of {', '.join(REASONS)}")
    return reasons


Reason = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only these; may be given several times.", callback=_known),
]
StageOption = Annotated[Stage | None, typer.Option("--stage", help="Only what this stage rejected.")]
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
    from tracker.dead_letters.shown import as_value

    meant = _filter(reason=reason, stage=stage, workspace=workspace, since=since, to=to, state=state)
    reasons: Counter[str] = Counter()
    shown: list[StoredLetter] = []

    async def work(settings: "Settings") -> None:
        async for stored in _letters(settings, meant):
            reasons[stored.letter.reason] += 1
            if len(shown) < limit:
                shown.append(stored)

    _run(work)
    if as_json:
        letters = [as_value(stored, raw=False) for stored in shown]
        typer.echo(json.dumps({"letters": letters, "total": reasons.total(), "by_reason": reasons}, indent=2))
        return
    if not shown:
        typer.echo("no dead letters" if meant.state == "all" else f"no dead letters that are {meant.state}")
        return
    _print_table(shown)
    counted = ", ".join(f"{count} {name}" for name, count in reasons.most_common())
    more = reasons.total() - len(shown)
    typer.echo(f"{reasons.total()} in all: {counted}" + (f"; {more} not shown (--limit)" if more else ""))


@app.command()
def show(place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET")], *, as_json: Json = False) -> None:
    """Show one letter with its raw record, decoded; nothing in it reaches your terminal as a command.

    Example: tracker dead-letters show 3:17
    """
    from tracker.dead_letters.letters import Place
    from tracker.dead_letters.shown import as_value, inert, readable

    wanted = Place.parse(place)
    found: list[StoredLetter] = []

    async def work(settings: "Settings") -> None:
        async for stored in _letters(settings, _filter(places=[place])):
            found.append(stored)  # noqa: PERF401 - there is one

    _run(work)
    if not found:
        raise NotFoundError(f"there is no dead letter {wanted}; tracker dead-letters list --state all shows them")
    (stored,) = found
    letter = stored.letter
    if as_json:
        decoded = {"key": readable(letter.key), "value": readable(letter.value)}
        typer.echo(json.dumps({**as_value(stored, raw=True), "readable": decoded}, indent=2))
        return
    for name, value in as_value(stored, raw=False).items():
        if not name.endswith("_ms") and value is not None:
            typer.echo(f"{name:<20} {inert(str(value))}")
    for name, raw in letter.headers:
        typer.echo(f"{'header':<20} {inert(name)}: {readable(raw)}")
    typer.echo(f"{'key':<20} {readable(letter.key)}")
    typer.echo(f"value\n{readable(letter.value)}")


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
    from tracker.dead_letters.shown import as_value

    meant = _filter(places=places, reason=reason, stage=stage, workspace=workspace, since=since, to=to, state=state)
    count = 0

    async def work(settings: "Settings") -> None:
        nonlocal count
        with nullcontext(sys.stdout) if output is None else output.open("w", encoding="ascii") as file:
            async for stored in _letters(settings, meant):
                file.write(json.dumps(as_value(stored, raw=True)) + "\n")
                count += 1

    _run(work)
    typer.echo(f"{count} letters", err=True)


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

    What the processor rejected goes into the source topic again and is numbered as what it is now: the latest. Rows
    that Tinybird refused go into their output topic again, with the numbers that they have. Run it as often as you
    like: what was sent is not sent again, and what fails again is a new letter with one attempt more.

    For example:

      tracker dead-letters retry --reason refused --dry-run

      tracker dead-letters retry 3:17 3:18 --yes
    """
    meant = _filter(places=places, reason=reason, stage=stage, workspace=workspace, since=since, to=to, state="open")
    outcome = _run(lambda settings: _retry(settings, meant, dry_run=dry_run, yes=yes))
    if outcome is None:
        raise typer.Exit(1)
    if not dry_run:
        typer.echo(f"{outcome.sent} records sent again, {len(outcome.skipped)} letters left as they are")
    for skipped in islice(outcome.skipped, SKIPPED_SHOWN):
        typer.echo(f"  {skipped.place} left: {skipped.why}", err=True)


async def _retry(settings: "Settings", meant: "Filter", *, dry_run: bool, yes: bool) -> "RetrySummary | None":
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
        planned, outcome = await work.preview(meant)
        for topic, count in planned.items():
            typer.echo(f"{count} records {'would go' if dry_run else 'go'} into {topic}")
        if dry_run or not planned:
            return outcome
        if not yes and not typer.confirm("send them?"):
            return None
        settled = await work.settle()
        if settled:
            typer.echo(f"{settled} had been sent by a run that was interrupted; they are not sent again")
        with _progress(planned.total()) as report:
            return await work.run(meant, report)


async def _letters(settings: "Settings", meant: "Filter") -> "AsyncIterator[StoredLetter]":
    from tracker.dead_letters.letters import read_fates, read_letters
    from tracker.kafka.access import require_access
    from tracker.kafka.log_reader import open_log_reader

    await require_access(settings, "dead-letters")
    async with open_log_reader(settings, f"{settings.topic_prefix}dead-letters") as reader:
        fates = await read_fates(settings, reader)
        for place in fates.unreadable:
            typer.echo(f"  {place} is no dead letter; something else wrote it", err=True)
        async for stored in read_letters(settings, reader, fates, meant):
            yield stored


def _filter(
    *,
    places: list[str] | None = None,
    reason: list[str] | None = None,
    stage: Stage | None = None,
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


def _print_table(shown: "list[StoredLetter]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tracker.dead_letters.shown import inert, iso

    table = Table()
    for column in ("letter", "failed", "reason"):
        table.add_column(column, no_wrap=True)
    for column in ("stage", "workspace", "attempts", "state", "source", "detail"):
        table.add_column(column, overflow="fold")
    for stored in shown:
        letter = stored.letter
        cells = (
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
        table.add_row(*(Text(inert(cell)) for cell in cells))
    Console().print(table)


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[int], None]]":
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("sending", total=total)
        yield lambda count: bar.advance(task, count)
