"""What ``tracker replay`` shows: for a person a plan, a progress bar and a result; for a machine JSON lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tracker.cli.views.terminal import iso, print_json_line
from tracker.replay.compare import Difference
from tracker.replay.generation import Generation
from tracker.replay.partition import Progress as PartitionProgress
from tracker.replay.plan import Plan
from tracker.replay.promote import LIVE_EVENTS, LIVE_SESSIONS, Promotion
from tracker.replay.run import OnProgress, Summary

#: Values that differ are shown up to here; JSON has them whole.
SHOWN_VALUE_CHARS: Final = 600


def _writes(generation: Generation, plan: Plan) -> str:
    """Say in a line where a plan's outputs go."""
    request = plan.request
    match request.target:
        case "compare":
            return "nothing: outputs are compared with the live ones, up to what the processors have committed"
        case "datasource":
            return f"rows to {request.events_datasource} and {request.sessions_datasource}, of whole sessions"
        case "topics":
            return f"topics {generation.topic_prefix}*"


def _print_promotion(promotion: Promotion) -> None:
    say = typer.echo
    say(f"1. append {promotion.replayed_sessions:,} ended sessions with their {promotion.replayed_events:,} events")
    say(f"   from {promotion.events} and {promotion.sessions} to {LIVE_EVENTS} and {LIVE_SESSIONS}:")
    say(f"   {promotion.new_events:,} events and {promotion.new_sessions:,} session rows are new or differ there,")
    say("   the others collapse with the rows there; until step 2 is done, both a wrong event and its right one show")
    say(f"2. delete {promotion.removed_events:,} events from {LIVE_EVENTS} WHERE {promotion.delete_events}")
    say(f"3. delete the rows of {promotion.removed_sessions:,} sessions, and older versions of replayed ones,")
    say(f"   from {LIVE_SESSIONS} WHERE {promotion.delete_sessions}")
    if promotion.open_sessions:
        say(f"{promotion.open_sessions:,} replayed sessions have not ended yet: they are left as they are")
    if promotion.changes_nothing:
        say("live holds exactly this already: nothing to do")


class ReplayView:
    """A replay for a person at a terminal, or as JSON lines for a machine."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)

    def plan(self, generation: Generation, plan: Plan, *, resumed: bool) -> None:
        """Show what will be read and written, partition by partition."""
        writes = _writes(generation, plan)
        if self._as_json:
            print_json_line("plan", {"writes": writes, "resumed": resumed, **msgspec.to_builtins(plan)})
            return
        say = self._console.print
        say(f"generation [bold]{plan.request.name}[/bold]" + (", resumed" if resumed else ""))
        say(f"  reads   {plan.records:,} offsets of {plan.source_topic}")
        say(f"  writes  {writes}")
        table = Table("partition", "folded from", "written from", "up to", box=None, padding=(0, 2))
        for each in plan.partitions:
            table.add_row(str(each.partition), f"{each.begin:,}", f"{each.emit_from:,}", f"{each.until:,}")
        say(table)

    @contextmanager
    def progress(self, plan: Plan) -> Iterator[OnProgress]:
        """Show how far the replay is while the block runs: a bar, or a JSON line for each chunk."""
        if self._as_json:
            yield lambda progress: print_json_line("progress", msgspec.to_builtins(progress))
            return
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
        """Show the result, and the first difference if there is one."""
        if self._as_json:
            print_json_line("summary", {**msgspec.to_builtins(summary), "differences": summary.differences})
            return
        say = self._console.print
        rate = summary.records / summary.seconds if summary.seconds else 0
        say(f"{summary.records:,} records in {summary.seconds:.1f} s ({rate:,.0f}/s), {summary.outputs:,} outputs")
        if summary.interrupted:
            say("[yellow]interrupted[/yellow]: the same command goes on where it stopped")
        elif summary.comparisons:
            self._comparisons(summary)

    def _comparisons(self, summary: Summary) -> None:
        say = self._console.print
        identical = sum(each.identical for each in summary.comparisons)
        older = sum(each.before_retention for each in summary.comparisons)
        if older:
            say(f"{older:,} outputs could not be compared: live's output topics no longer have them")
        if not summary.differences:
            say(f"[green]byte-identical[/green]: {identical:,} outputs")
            return
        say(f"[red]{summary.differences:,} differences[/red], {identical:,} identical; the first:")
        self._difference(min((each.first for each in summary.comparisons if each.first), key=_place))

    def _difference(self, first: Difference) -> None:
        kinds = {"differs": "differs", "missing": "live has none there", "extra": "only live has one there"}
        place = f"source offset {first.source_offset}:{first.source_index}"
        self._console.print(f"  {first.topic}-{first.partition}, {place}: {kinds[first.kind]}")
        for name, value in (("live", first.live), ("replay", first.replayed)):
            if value:
                self._console.print(f"  {name:<7} {value[:SHOWN_VALUE_CHARS]}", markup=False)

    def promotion(self, promotion: Promotion) -> None:
        """Show exactly what a promotion does, before it does it."""
        _print_promotion(promotion)

    def promoted(self, *, is_complete: bool) -> None:
        """Say whether live now holds the replayed rows."""
        typer.echo("done" if is_complete else "rows changed meanwhile: run it again")

    def discarded(self, name: str, removed: Sequence[str]) -> None:
        """Say which parts of a generation were removed."""
        typer.echo("removed " + ", ".join(removed) if removed else f"there is no generation {name!r}")


def _place(difference: Difference) -> tuple[int, int, int]:
    return difference.source_offset, difference.source_index, difference.partition


def _time(milliseconds: int) -> str:
    return iso(milliseconds, "seconds") if milliseconds else ""
