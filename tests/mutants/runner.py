"""mutmut's runner of tests, but none of them ever runs in the process that the mutants are forked from.

RocksDB's threads start with the first database and don't live on in a fork: there, whatever waits for them hangs.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mutmut
from mutmut.__main__ import PytestRunner
from mutmut.state import state

_TOLD = Path("mutants/stats-of-child.json")


class ForkedRunner(PytestRunner):
    """Runs what mutmut would run in its own process in a child, and takes over what that learned of the tests."""

    def run_stats(self, *, tests: Iterable[str]) -> int:
        """Find out which tests call which function, and how long they take."""
        told = _TOLD.absolute()

        def collect() -> int:
            exit_code = super(ForkedRunner, self).run_stats(tests=tests)
            told.write_text(json.dumps(_learned()))
            return exit_code

        exit_code = _in_child(collect)
        _take_over(json.loads(told.read_text()))
        self.list_all_tests()  # so that everything is imported once, before the forks
        return exit_code

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Run some tests; those of a mutant are in a child already."""
        if mutant_name is not None:
            return super().run_tests(mutant_name=mutant_name, tests=tests)
        return _in_child(lambda: super(ForkedRunner, self).run_tests(mutant_name=None, tests=tests))


def _in_child(work: Callable[[], int]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    exit_code = 1
    try:
        exit_code = work()
    finally:
        # mutmut collects what is printed, each process for itself: without this the name of a test that fails is lost.
        if exit_code and (catcher := getattr(sys.stdout, "catcher", None)) is not None:
            catcher.dump_output()
        sys.stdout.flush()
        os._exit(exit_code)


def _learned() -> dict[str, Any]:
    return {
        "tests": {name: sorted(tests) for name, tests in mutmut.tests_by_mangled_function_name.items()},
        "durations": dict(mutmut.duration_by_test),
        "callers": {name: sorted(callers) for name, callers in state().function_dependencies.items()},
    }


def _take_over(learned: dict[str, Any]) -> None:
    for name, tests in learned["tests"].items():
        mutmut.tests_by_mangled_function_name[name] |= set(tests)
    mutmut.duration_by_test.update(learned["durations"])
    for name, callers in learned["callers"].items():
        state().function_dependencies[name] |= set(callers)
