"""``python -m tests.simulation``: run many seeds, replay one with its trace, or see planted bugs caught."""

import argparse
import json
import sys
from dataclasses import asdict

from tests.simulation.many import Catch, Summary, catch_all, run_many
from tests.simulation.planted import PLANTED
from tests.simulation.run import Outcome, no_bug, run_seed

PROGRESS_EVERY_SEEDS = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many seeds to run")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="replay one seed and print what happened, step by step")
    parser.add_argument("--bug", choices=PLANTED, help="with --seed: plant this bug")
    parser.add_argument("--bugs", action="store_true", help="plant each bug, and say which seed catches it")
    parser.add_argument("--jobs", type=int, help="processes; one a core if left out")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, for programs")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        outcome = run_seed(options.seed, PLANTED[options.bug] if options.bug else no_bug, is_traced=True)
        print("\n".join(outcome.trace))
        return _tell_one(outcome)
    if options.bugs:
        found = catch_all(seeds, jobs=options.jobs)
        return _tell_bugs(found, as_json=options.json)
    summary = run_many(seeds, jobs=options.jobs, progress=_silence if options.json else _tell_progress)
    return _tell_json(summary) if options.json else _tell(summary)


def _silence(_: Summary) -> None:
    """A program reads along."""


def _tell_progress(summary: Summary) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    if end == "\r" or summary.seeds % PROGRESS_EVERY_SEEDS == 0:
        print(
            f"{summary.seeds} seeds, {summary.seeds_per_second:.0f} a second, {len(summary.failures)} failed",
            end=end, file=sys.stderr, flush=True,
        )  # fmt: skip


def _tell(summary: Summary) -> int:
    print(f"{'times':>9}  what struck or happened")
    for what, times in sorted(summary.counters.items()):
        print(f"{times:9}  {what}")
    print(f"{summary.seeds} seeds in {summary.seconds:.1f} s: {summary.seeds_per_second:.0f} seeds/s")
    for seed, violations in sorted(summary.failures.items()):
        print(f"\nseed {seed} FAILED; replay it with: make simulate SEED={seed}")
        print("\n".join(violations))
    print("all hold" if not summary.failures else f"{len(summary.failures)} failed")
    return int(bool(summary.failures))


def _tell_bugs(found: dict[str, Catch | None], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({bug: catch and asdict(catch) for bug, catch in found.items()}))
    else:
        for bug, catch in found.items():
            print(f"{bug}\n  {f'seed {catch.seed}: {catch.broken}' if catch else 'NOT CAUGHT'}")
    return int(None in found.values())


def _tell_json(summary: Summary) -> int:
    result = {
        "seeds": summary.seeds,
        "seconds": summary.seconds,
        "counters": summary.counters,
        "failures": summary.failures,
    }
    print(json.dumps(result))
    return int(bool(summary.failures))


def _tell_one(outcome: Outcome) -> int:
    print("\n".join(outcome.violations) or "all holds")
    print(", ".join(f"{what}: {times}" for what, times in sorted(outcome.counters.items()) if times))
    return int(bool(outcome.violations))


if __name__ == "__main__":
    raise SystemExit(main())
