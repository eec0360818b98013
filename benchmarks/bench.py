"""What every part of the benchmark is given, and what it gives back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console

from tracker.settings import Settings

#: The partitions of every topic of the benchmark.
PARTITIONS: Final = 4
#: The collector's limits stay out of the way: one sender sends it all.
FAR_ABOVE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Bench:
    """One call of the benchmark: how much to measure, and where."""

    events: int
    runs: int
    work_dir: Path
    kafka_bootstrap: str
    kafka_pid: int | None
    console: Console

    def settings(self, topic_prefix: str) -> Settings:
        """Return the settings of one run: topics and local state of its own, everything else as deployed."""
        return Settings(
            kafka_bootstrap=self.kafka_bootstrap,
            topic_prefix=topic_prefix,
            partitions=PARTITIONS,
            data_dir=self.work_dir / topic_prefix.rstrip("."),
        )

    def say(self, line: str) -> None:
        """Tell the person who waits what is going on."""
        self.console.print(f"[dim]{line}[/dim]", highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure: the median of its runs, and what it is compared with.

    ``ratio`` says how many times better than ``against`` it is, so that more is always better. ``goal`` is what it
    should be at most (or at least), and ``held`` whether it is.
    """

    name: str
    value: float
    unit: str
    runs: tuple[float, ...]
    against: str | None = None
    ratio: float | None = None
    goal: float | None = None
    goal_is_least: bool = False
    held: bool | None = None


#: A part measures one stage.
Part = Callable[[Bench], Awaitable[Sequence[Figure]]]


def figure(name: str, unit: str, runs: Sequence[float]) -> Figure:
    """Return the median of the runs as a figure that is compared with nothing."""
    return Figure(name, median(runs), unit, tuple(runs))


def at_most(name: str, unit: str, runs: Sequence[float], goal: float) -> Figure:
    """Return the median of the runs as a figure that has a goal, which holds if the worst of them is within it."""
    return Figure(name, median(runs), unit, tuple(runs), goal=goal, held=max(runs) <= goal)


def at_least(name: str, unit: str, runs: Sequence[float], goal: float) -> Figure:
    """Return the median of the runs as a figure whose goal holds if the worst of them reaches it."""
    return Figure(name, median(runs), unit, tuple(runs), goal=goal, goal_is_least=True, held=min(runs) >= goal)


def compared(name: str, unit: str, runs: Sequence[float], against: Figure, *, less_is_better: bool = False) -> Figure:
    """Return the median of the runs as a figure that is compared with another's.

    Runs come in pairs, one of each under the same load of the machine, so the ratio is the median over the pairs.
    """
    pairs = zip(runs, against.runs, strict=True)
    ratio = median(theirs / ours if less_is_better else ours / theirs for ours, theirs in pairs)
    return Figure(name, median(runs), unit, tuple(runs), against.name, ratio)
