"""``python -m tests.mutants``: plant small mistakes one at a time, and say which of them no fast test notices."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from time import monotonic

from tests.mutants.parts import PARTS, Part
from tests.mutants.tester import ALL, RESULTS
from tests.mutants.tree import make_tree
from tests.mutants.verdict import Equivalents, Score, read_equivalents, score_of

ROOT = Path(__file__).parents[2]
TREES = ROOT / ".cache" / "mutants"
NICENESS = 10
#: How many seeds the simulator runs for each mutant that nothing else has caught.
SEEDS = 10
#: The samples of all parts are stopped after this, however far they have come.
SAMPLE_TIMEOUT_SECONDS = 20 * 60
#: Fewer mutants than these say too little about a score to fail for it.
TELLING = 15


@dataclass(frozen=True, slots=True)
class Selection:
    """A part, and those of its modules that are to be mutated."""

    part: Part
    files: list[str]


def main() -> int:
    options = _options()
    selected = select(options.parts, options.since)
    if not selected:
        print("no module of the parts that decide has changed: nothing to mutate")
        return 0
    equivalents = read_equivalents()
    number = ALL if options.whole else str(max(1, options.sample // len(selected)))
    print(f"seed {options.seed}; {'all mutants' if options.whole else f'{number} mutants of each part'}")
    ends_at = None if options.whole else monotonic() + SAMPLE_TIMEOUT_SECONDS
    scores = {each.part: test(each, number, options.seed, equivalents, ends_at) for each in selected}
    return tell(scores, None if options.whole else options.at_least)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=[part.name for part in PARTS], help="only these")
    parser.add_argument("--since", help="only modules that differ from this commit")
    parser.add_argument("--sample", type=int, default=150, help="how many mutants in all")
    parser.add_argument("--seed", default="1", help="which ones")
    parser.add_argument("--whole", action="store_true", help="all of them: hours; goes on where it was interrupted")
    parser.add_argument("--at-least", type=float, default=0.0, help="with a sample: the score below which this fails")
    return parser.parse_args()


def select(names: list[str] | None, since: str | None) -> list[Selection]:
    """Return the parts that were asked for, without modules that have not changed."""
    parts = [part for part in PARTS if not names or part.name in names]
    changed = _changed(since) if since else None
    found = []
    for part in parts:
        files = [name for name in part.files(ROOT) if changed is None or name in changed]
        if files:
            found.append(Selection(part, files))
    return found


def _changed(since: str) -> set[str] | None:
    command = ["git", "diff", "--name-only", since]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if found.returncode:
        print(f"git does not know {since}: modules are taken whether they have changed or not")
        return None
    return set(found.stdout.splitlines())


def test(selection: Selection, number: str, seed: str, equivalents: Equivalents, ends_at: float | None) -> Score:
    """Run mutmut on a part, in a copy of its own, until the time is up."""
    part, tree = selection.part, TREES / selection.part.name
    make_tree(ROOT, tree, part, selection.files)
    (tree / RESULTS).unlink(missing_ok=True)
    command = ["nice", "-n", str(NICENESS), sys.executable, "-m", "tests.mutants.tester", number, seed]
    said = tree / "mutmut.log"
    environment = {**os.environ, "PYTHONPATH": str(tree), "FEW_SEEDS": str(SEEDS)}
    with said.open("wb") as file:
        process = subprocess.Popen(command, cwd=tree, stdout=file, stderr=file, env=environment)
    is_stopped = False
    try:
        process.wait(None if ends_at is None else max(0.0, ends_at - monotonic()))
    except subprocess.TimeoutExpired:
        is_stopped = True
        process.send_signal(SIGINT)
        process.wait()
    if process.returncode and not is_stopped:
        raise SystemExit(f"{part.name}: mutmut has failed, see {said}\n{said.read_text()[-2_000:]}")
    if is_stopped:
        print(f"{part.name}: stopped, since the {SAMPLE_TIMEOUT_SECONDS} s for all parts are over")
    if not (tree / RESULTS).exists():
        return Score()
    score = score_of(json.loads((tree / RESULTS).read_text()), equivalents)
    print(_line(part, score), flush=True)
    return score


def _line(part: Part, score: Score) -> str:
    numbers = f"{score.caught:>5} of {score.counted:>5} caught: {score.share:6.1%}"
    return f"{part.name:<10} {numbers}, {score.equivalent} equivalent"


def tell(scores: dict[Part, Score], at_least: float | None) -> int:
    """Print what survived, and the scores; 1 if they are below what they have to be."""
    for part, score in scores.items():
        for survivor in score.survivors:
            print(f"\n{part.name}: {survivor}")
    print()
    for part, score in scores.items():
        print(_line(part, score))
    counted = sum(score.counted for score in scores.values())
    share = sum(score.caught for score in scores.values()) / counted if counted else 1.0
    print(f"{'all':<10} {share:.1%} of {counted}")
    if at_least is not None:
        return int(counted >= TELLING and share < at_least)
    return int(any(score.share < part.least_score for part, score in scores.items()))


if __name__ == "__main__":
    raise SystemExit(main())
