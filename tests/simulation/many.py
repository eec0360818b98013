"""Many seeds on all cores: each process takes a few and ends, and what they tell is added up."""

import gc
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from tests.simulation.planted import PLANTED
from tests.simulation.run import Outcome, run_seed
from tracker.processes.garbage_collection import look_for_cycles_rarely

T = TypeVar("T")

#: Seeds that a process takes before it ends. It does not look for garbage: that costs 3 MB a seed and saves a sixth of
#: the CPU time, most of which would go into unwinding the coroutines of processes that were killed.
SEEDS_OF_A_PROCESS = 20
#: More failing seeds than this say nothing new.
MAX_FAILURES = 5
#: What a planted bug has to break: a promise (``verdict``), an end to all work, or the system's own check of itself.
#: Anything else is the planted code, which does not fit what is around it any more.
BROKEN_PROMISE = re.compile(
    r"partition \d+: |tracker\.\S+-\d+ (output|offset)|tracker\.\S+-\d+: the sink sent|table \d+, "
    r"|(events|session|usage)_v1|two different rows "
    r"|accepted, but never numbered|\S+ was sent once and numbered|\S+ has the numbers|\S+ was closed"
    r"|not at rest|\S+ ended with InvariantError"
)
MAX_BROKEN_CHARS = 100


@dataclass(slots=True)
class Summary:
    """What a range of seeds showed."""

    seeds: int = 0
    seconds: float = 0.0
    counters: Counter[str] = field(default_factory=Counter)
    #: What does not hold, by seed.
    failures: dict[int, list[str]] = field(default_factory=dict)

    @property
    def seeds_per_second(self) -> float:
        return self.seeds / self.seconds if self.seconds else 0.0


def run_many(seeds: Sequence[int], *, jobs: int | None = None, progress: Callable[[Summary], None]) -> Summary:
    """Run seeds until all are done or enough have failed. ``progress`` hears of it now and then."""
    summary = Summary()
    began = time.monotonic()
    firsts = range(0, len(seeds), SEEDS_OF_A_PROCESS)
    pieces = [partial(_run_some, seeds[first : first + SEEDS_OF_A_PROCESS]) for first in firsts]
    with closing(_in_processes(pieces, jobs)) as results:
        for outcomes in results:
            for outcome in outcomes:
                summary.seeds += 1
                summary.counters += outcome.counters
                if outcome.violations:
                    summary.failures[outcome.seed] = outcome.violations
            summary.seconds = time.monotonic() - began
            progress(summary)
            if len(summary.failures) >= MAX_FAILURES:
                break
    return summary


def _run_some(seeds: Sequence[int]) -> list[Outcome]:
    gc.disable()
    return [run_seed(seed) for seed in seeds]


@dataclass(frozen=True, slots=True)
class Catch:
    """A seed that catches a planted bug, and the promise that it found broken."""

    seed: int
    broken: str


def first_catch(bug: str, seeds: Sequence[int]) -> Catch | None:
    """Return the first seed that catches a planted bug, or None.

    Raises:
        TypeError: the bug does not fit the code it is planted into any more; that it "fails" says nothing.
    """
    look_for_cycles_rarely()
    for seed in seeds:
        violations = run_seed(seed, PLANTED[bug]).violations
        if violations:
            misfits = [each for each in violations if not BROKEN_PROMISE.match(each)]
            if misfits:
                raise TypeError(f"{bug!r} does not fit what it is planted into: {misfits[0]}")
            return Catch(seed, violations[0].partition("\n")[0][:MAX_BROKEN_CHARS])
    return None


def catch_all(seeds: Sequence[int], *, jobs: int | None = None) -> dict[str, Catch | None]:
    """Return for each planted bug the first seed that catches it, or None."""
    found = dict(_in_processes([partial(_catch, bug, seeds) for bug in PLANTED], jobs))
    return {bug: found[bug] for bug in PLANTED}


def _catch(bug: str, seeds: Sequence[int]) -> tuple[str, Catch | None]:
    return bug, first_catch(bug, seeds)


def _in_processes(pieces: Iterable[Callable[[], T]], jobs: int | None) -> Generator[T]:
    """Do each piece of work in a process of its own, one a core at a time, and yield results as they come.

    The processes are forked, so they have imported everything already; this one must have no other thread.

    Raises:
        EOFError: a piece of work has raised an error, which its process has printed.
    """
    context = get_context("fork")
    waiting = deque(pieces)
    running: dict[Any, BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < (jobs or os.cpu_count() or 1):
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(target=_tell, args=(waiting.popleft(), writer))
                process.start()
                writer.close()
                running[reader] = process
            for reader in wait(running):
                yield reader.recv()
                running.pop(reader).join()
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _tell(work: Callable[[], T], writer: Connection) -> None:
    writer.send(work())
