"""The reference model is independent of the fold that it judges, small enough to be read, and sees a wrong rule."""

import ast
from pathlib import Path

import pytest

from tests.reference import model as model_module
from tests.reference import rows as rows_module
from tests.reference.compare import fold_differences, table_differences
from tests.reference.model import Model
from tests.sessions_log import START_MS, Log
from tests.simulation.planted import PLANTED
from tracker.sessions.rules import Rules

MAX_LINES = 250
#: Planted bugs that are in the rules themselves: the simulator's fold has them, too, when it judges.
RULE_BUGS = [bug for bug, build in PLANTED.items() if build(None).are_rules]


def log_that_shows_them() -> Log:
    log = Log()
    log.session("a", timeout_seconds=300)
    log.session("a", START_MS + 1, user_id="u")
    log.event("b", START_MS + 2)
    log.expire("b", START_MS + 3, workspace_id="w1")
    return log


def differences(log: Log) -> list[str]:
    result = log.fold()
    model = Model(log.rules, log.number, log.partition_of).take(log.records)
    return fold_differences(model, result) + table_differences(
        model, {key: stored.state for key, stored in log.table.items()}
    )


@pytest.mark.parametrize("bug", RULE_BUGS)
def test_a_wrong_rule_is_seen(bug: str):
    assert differences(log_that_shows_them()) == []
    with PLANTED[bug](None).in_place():
        assert differences(log_that_shows_them()) != []


def test_outputs_that_are_missing_too_many_or_in_another_partition_are_seen():
    log = log_that_shows_them()
    result = log.fold()
    model = Model(log.rules, log.number, log.partition_of)
    assert all("rules say None" in line for line in fold_differences(model, result))
    model.take(log.records)
    result.events.clear()
    assert ["found     None" in line for line in fold_differences(model, result)] == [True]
    model.forwarded.append((0, 1))
    assert len(fold_differences(model, result)) == 2


def test_a_session_that_is_remembered_otherwise_is_seen():
    log = Log(Rules(max_events=1))
    log.event("a")
    log.event("a")
    log.fold()
    states = {key: stored.state for key, stored in log.table.items()}
    assert table_differences(Model(log.rules, log.number).take(log.records), states) == []
    assert len(table_differences(Model(Rules(), log.number).take(log.records), states)) == 1
    assert len(table_differences(Model(log.rules, log.number), states)) == 1


@pytest.mark.parametrize("module", [model_module, rows_module])
def test_it_is_short_and_shares_no_code_with_what_it_judges(module):
    source = Path(module.__file__).read_text()
    assert source.count("\n") <= MAX_LINES
    tree = ast.parse(source)
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.startswith("tracker")]
