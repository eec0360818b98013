"""What ``tracker replay`` shows: for a person a plan, a progress bar and a verdict; for a machine JSON lines."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tracker.replay.compare import Difference
from tracker.replay.generation import Generation
from tracker.replay.partition import Progress as PartitionProgress
from tracker.replay.plan import Plan
from tracker.replay.promote import LIVE_EVENTS, LIVE_SESSIONS, Promotion
from tracker.replay.run import OnProgress, Summary

#: Values that differ are shown up to here; JSON has them whole.
SHOWN_VALUE_CHARS = 600


class View(Protocol):
    """Shows one replay."""

    def plan(self, plan: Plan, *, writes: str, resumed: bool) -> None:
        """Say what will be read and written."""

    def progress(self, plan: Plan) -> AbstractContextManager[OnProgress]:
        """Show progress while the block runs."""

    def summary(self, summary: Summary) -> None:
        """Say what came of it."""


def new_view(*, as_json: bool) -> View:
    """Return the view for a machine, or for a person."""
    return JsonView() if as_json else PersonView()


def writes(generation: Generation, plan: Plan) -> str:
    """Say in a line where a plan's outputs go."""
    request = plan.request
    match request.target:
        case "compare":
            return "nothing: outputs are compared with the live ones, up to what the processors have committed"
        case "datasource":
            return f"rows to {request.events_datasource} and {request.sessions_datasource}, of whole sessions"
        case "topics":
            return f"topics {generation.topic_prefix}*"


def show_promotion(promotion: Promotion) -> None:
    """Say exactly what a promotion does, before it does it."""
    say = typer.echo
    say(f"1. append {promotion.replayed_sessions:,} ended sessions with their {promotion.replayed_events:,} events")
    say(f"   from {promotion.events} and {promotion.sessions} to {LIVE_EVENTS} and {LIVE_SESSIONS}:")
    say(f"   {promotion.new_events:,} events and {promotion.new_sessions:,} session rows are new or differ there,")
    say(
        "   the others collapse with what is there; until step 2 is done, both a wrong event and its right one are seen"
    )
    say(f"2. delete {promotion.removed_events:,} events from {LIVE_EVENTS} WHERE {promotion.delete_events}")
    say(f"3. delete the rows of {promotion.removed_sessions:,} sessions, and older versions of replayed ones,")
    say(f"   from {LIVE_SESSIONS} WHERE {promotion.delete_sessions}")
    if promotion.open_sessions:
        say(f"{promotion.open_sessions:,} replayed sessions have not ended yet: they are left as they are")
    if promotion.changes_nothing:
        say("live holds exactly this already: nothing to do")


class JsonView:
    """One JSON line for the plan, for each chunk, and for the end."""

    def plan(self, plan: Plan, *, writes: str, resumed: bool) -> None:
        """Print the plan."""
        _line("plan", {"writes": writes, "resumed": resumed, **msgspec.to_builtins(plan)})

    @contextmanager
    def progress(self, plan: Plan) -> Iterator[OnProgress]:  # noqa: ARG002 - View's signature
        """Print each step."""
        yield lambda progress: _line("progress", msgspec.to_builtins(progress))

    def summary(self, summary: Summary) -> None:
        """Print what came of it."""
        _line("summary", {**msgspec.to_builtins(summary), "differences": summary.differences})


def _line(kind: str, fields: dict[str, Any]) -> None:
    typer.echo(msgspec.json.encode({"type": kind, **fields}))


class PersonView:
    """For a terminal; without one only the plan and the end are printed."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def plan(self, plan: Plan, *, writes: str, resumed: bool) -> None:
        """Say what will be read and written, partition by partition."""
        say = self._console.print
        say(f"generation [bold]{plan.request.name}[/bold]" + (", resumed" if resumed else ""))
        say(f"  reads   {plan.records:,} offsets of {plan.source_topic}")
        say(f"  writes  {writes}")
        table = Table("partition", "folded from", "handed on from", "up to", box=None, padding=(0, 2))
        for each in plan.partitions:
            table.add_row(str(each.partition), f"{each.begin:,}", f"{each.emit_from:,}", f"{each.until:,}")
        say(table)

    @contextmanager
    def progress(self, plan: Plan) -> Iterator[OnProgress]:
        """Show a bar with rate and time left."""
        columns = (
            TextColumn("[bold]replay"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[at]}"),
        )
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("replay", total=plan.records, rate="", at="")
            begins = {each.partition: each.begin for each in plan.partitions}
            done: dict[int, int] = {}

            def on_progress(progress: PartitionProgress) -> None:
                done[progress.partition] = progress.next_offset - begins[progress.partition]
                speed = bar.tasks[task].speed
                rate = f"{speed:,.0f}/s" if speed else ""
                bar.update(task, completed=sum(done.values()), rate=rate, at=_time(progress.stream_time_ms))

            yield on_progress

    def summary(self, summary: Summary) -> None:
        """Say what came of it, and the first difference if there is one."""
        say = self._console.print
        rate = summary.records / summary.seconds if summary.seconds else 0
        say(f"{summary.records:,} records in {summary.seconds:.1f} s ({rate:,.0f}/s), {summary.outputs:,} outputs")
        if summary.interrupted:
            say("[yellow]interrupted[/yellow]: the same command goes on where it stopped")
            return
        if not summary.comparisons:
            return
        identical = sum(each.identical for each in summary.comparisons)
        older = sum(each.before_retention for each in summary.comparisons)
        if older:
            say(f"{older:,} outputs could not be compared: live's output topics no longer have them")
        if not summary.differences:
            say(f"[green]byte-identical[/green]: {identical:,} outputs")
            return
        say(f"[red]{summary.differences:,} differences[/red], {identical:,} identical; the first:")
        self._show(min((each.first for each in summary.comparisons if each.first), key=_place))

    def _show(self, first: Difference) -> None:
        words = {"differs": "differs", "missing": "live has none there", "extra": "only live has one there"}
        self._console.print(
            f"  {first.topic}-{first.partition}, source offset {first.source_offset}:{first.source_index}: "
            f"{words[first.kind]}"
        )
        for name, value in (("live", first.live), ("replay", first.replayed)):
            if value:
                self._console.print(f"  {name:<7} {value[:SHOWN_VALUE_CHARS]}", markup=False)


def _place(difference: Difference) -> tuple[int, int, int]:
    return difference.source_offset, difference.source_index, difference.partition


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else ""
