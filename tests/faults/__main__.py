"""``python -m tests.faults``: every fault against running workers on a real Kafka, as one table. ``make faults``."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.run import FaultResult, run_fault
from tests.faults.world import Size
from tests.fixtures.cluster import running_cluster
from tests.fixtures.kafka import PROJECT_DIR
from tracker.errors import TrackerError
from tracker.observe.logs import hush_kafka_client

PIPED_WIDTH_CHARS = 160
#: What the workers of a failed fault had to say.
LOGS_DIR = PROJECT_DIR / ".cache" / "faults"


def main() -> int:
    arguments = _arguments()
    # Our own clients complain at length about the broker that is killed on purpose.
    hush_kafka_client()
    # Piped into a file there is no width to fit, and rich would squeeze the figures away.
    out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH_CHARS)
    console = Console(stderr=True, highlight=False) if arguments.json else out
    if arguments.list:
        for fault in FAULTS.values():
            out.print(f"{fault.name:<26} {fault.times:>2} x  {fault.what}", highlight=False)
        return 0
    outcomes: list[FaultResult] = []
    try:
        for outcome in _outcomes(arguments, console):
            outcomes.append(outcome)
            if arguments.json:
                print(orjson.dumps(outcome.as_json()).decode(), flush=True)
    finally:  # after Ctrl-C, too
        console.print(table(outcomes))
    return 0 if all(outcome.held for outcome in outcomes) else 1


def _outcomes(arguments: argparse.Namespace, console: Console) -> Iterator[FaultResult]:
    size = Size(events_per_second=arguments.rate)
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        for fault in (FAULTS[name] for name in arguments.only or FAULTS):
            if fault.brokers <= arguments.brokers:
                yield _run(fault, seed, size, arguments.brokers, console)


def _run(fault: Fault, seed: int, size: Size, brokers: int, console: Console) -> FaultResult:
    console.print(f"[dim]{fault.name}: {fault.what} (seed {seed}, {brokers} brokers)[/dim]", highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="tracker-faults-") as directory,
        running_cluster(brokers, Path(directory)) as cluster,
    ):
        outcome = asyncio.run(run_fault(fault, cluster, Path(directory), seed=seed, size=size, times=fault.times))
        if not outcome.held:
            _keep_logs(Path(directory), LOGS_DIR / f"{fault.name}-{seed}")
    if not outcome.held:
        console.print(
            f"the workers' logs are in {LOGS_DIR.relative_to(PROJECT_DIR)}/{fault.name}-{seed}", highlight=False
        )
        console.print(f"[red]{fault.name} failed:[/red] {outcome.problems}", highlight=False, markup=True)
        console.print(f"again: make faults ONLY={fault.name} SEED={seed}", highlight=False)
    return outcome


def _keep_logs(data_dir: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for log in data_dir.glob("worker-*/*.log"):
        shutil.copy(log, target / f"{log.parent.name}.{log.name}")


def table(outcomes: list[FaultResult]) -> Table:
    """What was done, how long until all that had been accepted was through, and whether everything held."""
    shown = Table(title="Each output once and byte for byte as the log says, numbers 1..n, one close at the deadline")
    shown.add_column("fault", no_wrap=True)
    for heading in ("seed", "struck", "under way", "recovered, median", "at most", "events", "repeats dropped"):
        shown.add_column(heading, justify="right")
    shown.add_column("verdict")
    for outcome in outcomes:
        shown.add_row(
            outcome.fault,
            str(outcome.seed),
            str(outcome.times_struck),
            f">= {outcome.least_backlog:,}",
            f"{outcome.recovery_median_seconds:.1f} s",
            f"{outcome.recovery_max_seconds:.1f} s",
            f"{outcome.events:,}",
            f"{outcome.repeats:,}",
            "[green]held[/green]" if outcome.held else "[red]FAILED[/red]",
        )
    return shown


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults against running workers.")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="NAME", help="these faults; default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(2**16), help="first seed; default: drawn, printed")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=3, help="brokers of the cluster (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="times through all of them, each with the next seed")
    parser.add_argument("--rate", type=int, default=Size().events_per_second, help="events per second (%(default)s)")
    parser.add_argument("--json", action="store_true", help="a JSON line per fault; the table goes to stderr")
    parser.add_argument("--list", action="store_true", help="only list the faults")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TrackerError as error:
        sys.exit(str(error))
