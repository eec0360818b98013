"""``python -m tests.mutants.tester NUMBER SEED``, inside a tree: runs mutmut on a sample of the mutants, or on all.

A process of its own, because mutmut takes the working directory and the modules of its process for the tree's.
"""

import json
import os
import random
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.mutants.operators import add_operators

RESULTS = Path("mutants/results.json")
STATS = Path("mutants/mutmut-stats.json")
TESTS_HASH = Path("mutants/tests.sha256")
#: In place of a number of mutants: all, and what an earlier run has found of unchanged ones counts.
ALL = "all"
#: pytest's exit code, and mutmut's: a test has failed.
KILLED = 1


def main(number: str, seed: str) -> None:
    """Test a sample and write each mutant's state and difference down."""
    add_operators()
    # mutmut 3.7 reads a name that pytest has dropped; 3.8 does not, but can't be installed beside Faust.
    pytest.Item._nodeid = property(lambda item: item.nodeid)  # type: ignore[attr-defined]
    from mutmut import __main__ as mutmut  # noqa: PLC0415 - it reads the operators

    from tests.mutants.runner import ForkedRunner  # noqa: PLC0415 - likewise

    mutmut.PytestRunner = ForkedRunner  # type: ignore[misc]

    names = mutant_names()
    sample = [] if number == ALL else random.Random(seed).sample(names, min(int(number), len(names)))
    RESULTS.unlink(missing_ok=True)
    forget_what_other_tests_said()
    try:
        mutmut._run(sample, max_children=os.cpu_count() or 1)  # several: one that hangs holds no core
    finally:
        RESULTS.write_text(json.dumps(results(sample)))


def forget_what_other_tests_said() -> None:
    """If the tests have changed since the last run, ask anew which of them call what, and about all survivors.

    mutmut itself only notices that functions have changed.
    """
    digest = sha256()
    for path in sorted(path for top in ("tests", "topics") for path in Path(top).rglob("*.py")):
        digest.update(path.read_bytes())
    if TESTS_HASH.exists() and TESTS_HASH.read_text() == digest.hexdigest():
        return
    STATS.unlink(missing_ok=True)
    for path in Path("mutants").rglob("*.py.meta"):
        found = json.loads(path.read_text())
        verdicts = found["exit_code_by_key"]
        found["exit_code_by_key"] = {name: code if code == KILLED else None for name, code in verdicts.items()}
        path.write_text(json.dumps(found))
    TESTS_HASH.parent.mkdir(exist_ok=True)
    TESTS_HASH.write_text(digest.hexdigest())


def mutant_names() -> list[str]:
    """The names of all mutants that there are, in order."""
    from mutmut.__main__ import walk_mutatable_files  # noqa: PLC0415 - as above
    from mutmut.mutation.file_mutation import mutate_file_contents  # noqa: PLC0415
    from mutmut.utils.format_utils import get_mutant_name  # noqa: PLC0415

    return sorted(
        get_mutant_name(path, name)
        for path in walk_mutatable_files()
        for name in mutate_file_contents(str(path), path.read_text()).mutant_names
    )


def results(sample: list[str]) -> list[dict[str, str]]:
    """What became of each mutant that was tested."""
    from mutmut.__main__ import get_diff_for_mutant, status_by_exit_code, walk_mutatable_files  # noqa: PLC0415
    from mutmut.mutation.data import SourceFileMutationData  # noqa: PLC0415

    found, wanted = [], set(sample)
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, exit_code in data.exit_code_by_key.items():
            if exit_code is None or (wanted and name not in wanted):
                continue
            state = status_by_exit_code[exit_code]
            difference = "" if state == "killed" else get_diff_for_mutant(name)
            found.append({"name": name, "file": str(path), "state": state, "difference": difference})
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
