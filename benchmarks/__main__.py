"""``python -m benchmarks``: start a Kafka of our own, measure the parts on it, print and write the figures."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.bench import Bench, Figure, figure
from benchmarks.machine import CpuTimes
from benchmarks.measure import WorkerFailedError
from benchmarks.parts import PARTS
from benchmarks.report import OUT_FILE, print_table, write_lines
from tracker.errors import TrackerError
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

DEFAULT_EVENTS: Final = 200_000
DEFAULT_RUNS: Final = 3
PIPED_WIDTH_CHARS: Final = 160
_PROJECT_DIR: Final = Path(__file__).parents[1]


def main() -> int:
    """Measure what the arguments say; 0 if every part ended and its results were right."""
    arguments = _arguments()
    # Piped into a file there is no width to fit, and rich would squeeze the figures away.
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH_CHARS)
    names = arguments.only or list(PARTS)
    began = CpuTimes.now()
    try:
        figures = asyncio.run(_measure(names, arguments.events, arguments.runs, console))
    except (TrackerError, WorkerFailedError) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        return 1
    figures.append(figure("machine.steal", "%", [CpuTimes.now().steal_percent_since(began)]))
    print_table(console, figures)
    write_lines(figures)
    console.print(f"{len(figures)} figures in {OUT_FILE.relative_to(_PROJECT_DIR)}", highlight=False)
    return 0


async def _measure(names: list[str], events: int, runs: int, console: Console) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="tracker-bench-") as directory:
        settings = Settings(
            kafka_bootstrap=f"{LOOPBACK}:{free_port()}",
            data_dir=Path(directory),
            cache_dir=_PROJECT_DIR / Settings().cache_dir,
        )
        with LocalKafka(settings) as kafka:
            bench = Bench(events, runs, Path(directory), kafka.bootstrap, kafka.pid, console)
            return [figure for name in names for figure in await PARTS[name](bench)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the stages cost.")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="the parts to measure; default: all")
    parser.add_argument("--events", type=_positive, default=DEFAULT_EVENTS, help="events a run (%(default)s)")
    parser.add_argument("--runs", type=_positive, default=DEFAULT_RUNS, help="runs of each (%(default)s)")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
