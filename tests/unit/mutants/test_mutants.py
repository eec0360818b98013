"""What is planted, how it is judged, and that what is listed as equivalent is still there."""

import importlib

import libcst as cst
import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.mutants import operators
from tests.mutants.__main__ import tell
from tests.mutants.parts import PARTS
from tests.mutants.tree import beside_the_sources, without_decorators
from tests.mutants.verdict import Equivalents, Score, changed_lines, function_of, read_equivalents, score_of

NAME = "tracker.table.store.xǁSessionStoreǁmerge__mutmut_3"
DIFFERENCE = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n def f():\n-    if x < y:\n+    if x <= y:\n         pass"


def test_properties_and_context_managers_are_written_as_assignments_and_mean_the_same():
    source = (
        "from contextlib import contextmanager\n"
        "class C:\n"
        "    @property\n"
        "    def x(self):\n"
        '        """One."""\n'
        "        return 1\n"
        "    @staticmethod\n"
        "    def y(): return 2\n"
        "@contextmanager\n"
        "def z():\n"
        "    yield 3\n"
    )
    undone = without_decorators(source)
    assert "@property" not in undone
    assert "@staticmethod" in undone
    made: dict = {}
    exec(undone, made)  # noqa: S102 - it is the text above
    assert (made["C"]().x, made["C"].y()) == (1, 2)
    with made["z"]() as found:
        assert found == 3


def test_all_that_the_project_has_is_there_for_the_tests_of_a_mutant():
    listed = ["tracker/table/store.py", "tests/stages.py", "pyproject.toml", "reports/a.css", "reports/a.js", ".ci/run"]
    assert beside_the_sources(listed) == [".ci", "reports"]


@pytest.mark.parametrize(
    ("operator", "source", "mutants"),
    [
        (operators.leave_out_a_step, "write(x)\n", ["pass\n"]),
        (operators.leave_out_a_step, "await write(x)\n", ["pass\n"]),
        (operators.leave_out_a_step, "log.info(x)\n", []),
        (operators.leave_out_a_step, "x = write()\n", []),
        (operators.leave_out_a_check, "if x:\n    y\n", ["if (x) and False:\n    y\n"]),
        (operators.leave_out_a_check, "if x:\n    y\nelse:\n    z\n", []),
        (operators.turn_a_check, "if x.y:\n    z\n", ["if not x.y:\n    z\n"]),
        (operators.turn_a_check, "if x < y:\n    z\n", []),
        (operators.swap_steps, "if a:\n    b()\n    c()\n    d = 1\n", ["if a:\n    c()\n    b()\n    d = 1\n"]),
        (operators.leave_out_a_condition, "a or b and c\n", ["(a)\n", "(b and c)\n"]),
        (operators.take_the_other_extreme, "max(a, b)\n", ["min(a, b)\n"]),
        (operators.take_one_side, "a if b else c\n", ["a if (b) and False else c\n", "a if (b) or True else c\n"]),
    ],
)
def test_an_operator_makes_the_mistake_that_it_is_named_after(operator, source, mutants):
    module = cst.parse_module(source)
    statement = module.body[0]
    if operator is operators.swap_steps:
        nodes = [(statement.body, lambda new: statement.with_changes(body=new))]
    elif isinstance(statement, cst.If) or operator is operators.leave_out_a_step:
        nodes = [(statement, lambda new: new)]
    else:
        nodes = [(statement.body[0].value, lambda new: cst.SimpleStatementLine([cst.Expr(new)]))]
    found = [cst.Module([whole(mutant)]).code for node, whole in nodes for mutant in operator(node)]
    assert found == mutants


def test_a_mutant_counts_as_caught_as_equivalent_or_as_a_survivor():
    function = "tracker.table.store.SessionStore.merge"
    results = [
        {"name": NAME, "state": "killed", "difference": ""},
        {"name": NAME, "state": "timeout", "difference": DIFFERENCE},
        {"name": NAME, "state": "survived", "difference": DIFFERENCE},
        {"name": NAME, "state": "no tests", "difference": DIFFERENCE.replace("<=", ">")},
    ]
    strict = score_of(results, Equivalents())
    assert (strict.caught, len(strict.survivors), strict.share) == (2, 2, 0.5)
    lenient = score_of(results, Equivalents({(function, changed_lines(DIFFERENCE)): "x is never y"}))
    assert (lenient.caught, lenient.equivalent, lenient.counted) == (2, 1, 3)
    assert lenient.survivors == [f"{function}: no tests\n- if x < y:\n+ if x > y:"]


@pytest.mark.parametrize(
    ("change", "is_equivalent"),
    [
        (("- self._paused = False", "+ self._paused = None"), True),
        (("- self._paused = False", "+ self._paused = True"), False),
        (('- row = {"is_expired": False}', '+ row = {"is_expired": None}'), False),
    ],
)
def test_what_is_always_equivalent_is_told_by_its_looks(change: tuple[str, ...], is_equivalent: bool):
    assert bool(read_equivalents().reason_of("any.function", change)) == is_equivalent


def test_a_mutants_function_is_named_as_people_name_it():
    assert function_of(NAME) == "tracker.table.store.SessionStore.merge"
    assert function_of("tracker.table.store.x_row_of__mutmut_12") == "tracker.table.store.row_of"


@pytest.mark.parametrize(("function", "change"), read_equivalents().listed)
def test_what_is_listed_as_equivalent_is_a_change_of_a_line_that_there_is(function: str, change: tuple[str, ...]):
    module_name, _, name = function.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError:
        module_name, _, class_name = module_name.rpartition(".")
        module = getattr(importlib.import_module(module_name), class_name)
    assert hasattr(module, name)
    if module_name.startswith("tracker"):
        source = (PROJECT_DIR / f"{module_name.replace('.', '/')}.py").read_text()
        lines = {line.strip() for line in source.splitlines()}
        assert {line[2:] for line in change if line[0] == "-"} <= lines


def test_every_part_has_modules_and_tests():
    for part in PARTS:
        assert part.files(PROJECT_DIR)
        assert [test for test in part.tests if not (PROJECT_DIR / test).exists()] == []


@pytest.mark.parametrize(("caught", "survived", "fails"), [(5, 9, 0), (5, 10, 1), (9, 6, 0), (8, 7, 1)])
def test_a_sample_fails_below_its_bound_if_it_is_large_enough_to_tell(caught: int, survived: int, fails: int):
    assert tell({PARTS[0]: Score(caught=caught, survivors=["a mutant"] * survived)}, at_least=0.6) == fails
