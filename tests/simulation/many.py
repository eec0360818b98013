"""Many seeds on all cores: each process takes a few and ends, and what they tell is added up."""

import gc
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.pool import Pool

from tests.simulation.planted import PLANTED
from tests.simulation.run import Outcome, run_seed
from tracker.processes.garbage_collection import look_for_cycles_rarely

#: Seeds that a process takes before it ends. It does not look for garbage: that costs 3 MB a seed and saves a sixth of
#: the CPU time, most of which would go into unwinding the coroutines of processes that were killed.
SEEDS_OF_A_PROCESS = 20
#: How long an answer may take. A pool would wait for ever for a process that was killed.
ANSWER_TIMEOUT_SECONDS = 1_800
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
    pieces = [seeds[at : at + SEEDS_OF_A_PROCESS] for at in range(0, len(seeds), SEEDS_OF_A_PROCESS)]
    with _short_lived(jobs) as pool:
        answers = pool.imap_unordered(_run_some, pieces)
        for _ in pieces:
            for outcome in answers.next(ANSWER_TIMEOUT_SECONDS):
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
    with _short_lived(jobs) as pool:
        answers = pool.starmap_async(first_catch, [(bug, seeds) for bug in PLANTED], chunksize=1)
        found = answers.get(ANSWER_TIMEOUT_SECONDS)
    return dict(zip(PLANTED, found, strict=True))


def _short_lived(jobs: int | None) -> Pool:
    """Return a pool of processes, one a core, each of which does one piece of work and ends.

    They are forked, so they have imported everything already.
    """
    return get_context("fork").Pool(jobs or os.cpu_count(), maxtasksperchild=1)
