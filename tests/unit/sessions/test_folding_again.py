"""A worker is killed between two batches of the changelog: its successor folds records that some rows have had."""

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.keys import row_key
from tracker.sessions.outputs import FoldResult
from tracker.sessions.rules import Rules

KEY = "visitor-1"
BRIEF_STUBS = Rules(closed_stub_retention_ms=MINUTE_MS)


def named(workspace: str) -> dict[str, str]:
    return {"workspace_id": workspace}


def folded_again(log: Log, begin: int) -> FoldResult:
    """Fold the records from an offset on; then once more on all states that this gave, as if W had not been written."""
    log.fold(begin)
    before = log.partition.mark
    log.fold()
    log.recover(before)
    log.go_back_to(begin)
    return log.fold()


def test_a_key_that_is_known_here_stays_here_though_it_belongs_to_another_partition_by_now():
    log = Log()
    log.event(KEY)
    log.fold()
    log.partition_of = lambda _: log.number + 1
    log.recover()
    log.event(KEY)
    log.event("another")
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [2]
    assert [forward.key for forward in result.forwards] == [b"another"]


def test_a_record_that_a_forgotten_key_has_had_is_not_forwarded():
    log = Log(BRIEF_STUBS)
    log.event(KEY)
    log.expire(KEY)
    log.tick(START_MS + 2 * MINUTE_MS)
    before = log.partition.mark
    log.fold()
    log.partition_of = lambda _: log.number + 1
    log.recover(before)
    log.go_back_to(0)
    result = log.fold()
    assert (result.forwards, result.counts.already_applied) == ([], 2)


def test_a_record_that_home_had_when_it_was_another_workspaces_is_not_applied_again():
    log = Log(BRIEF_STUBS)
    log.event(KEY, event_id="a", envelope=named("w2"))
    log.expire(KEY)
    log.tick(START_MS + 2 * MINUTE_MS)
    log.event(KEY, START_MS + 3 * MINUTE_MS, event_id="b", envelope=named("w1"))
    result = folded_again(log, 0)
    assert (result.events, result.counts.already_applied) == ([], 3)
    assert [(key, row.state.workspace_id) for key, row in log.table.items()] == [(KEY.encode(), "w1")]


def test_a_record_that_the_row_of_another_workspace_has_had_is_not_applied_to_home():
    log = Log(BRIEF_STUBS)
    log.event(KEY, event_id="a", envelope=named("w1"))
    log.expire(KEY)
    log.event(KEY, START_MS + MINUTE_MS, event_id="b", envelope=named("w2"))
    log.tick(START_MS + 2 * MINUTE_MS)
    log.event(KEY, START_MS + 3 * MINUTE_MS, event_id="c", envelope=named("w2"))
    log.expire(KEY, START_MS + 3 * MINUTE_MS, envelope=named("w2"))
    log.tick(START_MS + 5 * MINUTE_MS)
    result = folded_again(log, 4)
    assert (result.events, result.counts.already_applied) == ([], 2)
    assert {key: row.state.close_reason for key, row in log.table.items()} == {
        KEY.encode(): "forgotten",
        row_key(KEY.encode(), "w2"): "forgotten",
    }
