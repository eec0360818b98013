"""The session that follows another one of its key: what it inherits, and what never opens one."""

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.rules import DAY_MS, Rules

KEY = "visitor-1"
CONTEXT = {"user_id": "alice", "workspace_id": "w1", "project_id": "p1", "environment": "live", "campaign_id": "spring"}
LATER_MS = START_MS + 45 * MINUTE_MS


@pytest.mark.parametrize(
    ("policy", "inherited"),
    [
        ("all", CONTEXT),
        ("identity", {**CONTEXT, "campaign_id": ""}),
        ("none", {**dict.fromkeys(CONTEXT, ""), "workspace_id": "w1"}),
    ],
)
@pytest.mark.parametrize("opened_by", ["event", "session"])
def test_a_renewed_session_inherits_context_by_policy(policy: str, inherited: dict[str, str], opened_by: str):
    log = Log(Rules(renewal_context=policy))
    log.session(KEY, **CONTEXT)
    if opened_by == "session":
        log.session(KEY, at=LATER_MS)
    log.event(KEY, at=LATER_MS)
    result = log.fold()
    (event,) = rows(result.events)
    session = rows(result.sessions)[-1]
    assert {name: event[name] for name in CONTEXT} == inherited
    assert {name: session[name] for name in CONTEXT} == inherited
    assert session["session_id"] != KEY


def test_what_the_first_record_of_a_renewed_session_says_comes_before_what_it_inherits():
    log = Log()
    log.session(KEY, **CONTEXT)
    log.event(KEY, at=LATER_MS, campaign_id="summer")
    (event,) = rows(log.fold().events)
    assert (event["user_id"], event["campaign_id"]) == ("alice", "summer")


def test_a_context_that_would_fill_the_session_at_once_is_inherited_less():
    log = Log(Rules(max_context_bytes=20))
    log.session(KEY, user_id="alice", campaign_id="a-very-long-campaign")
    log.event(KEY, event_id="a")
    log.event(KEY, event_id="b")
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 2]
    assert {(row["user_id"], row["campaign_id"]) for row in rows(result.events)} == {("alice", "")}


def passive(log: Log, event_id: str, at: int, **data: str) -> None:
    log.event(KEY, at, event_id=event_id, envelope={"passive": True}, **data)


def test_a_page_left_after_the_time_out_opens_no_session_but_is_numbered_in_the_closed_one():
    log = Log()
    log.session(KEY, user_id="alice")
    log.event(KEY, event_id="a")
    passive(log, "leave", LATER_MS)
    passive(log, "leave", LATER_MS + 1)
    result = log.fold()
    found = [(row["event_id"], row["session_id"], row["session_event_sequence"]) for row in rows(result.events)]
    assert found == [("a", KEY, 1), ("leave", KEY, 2)]
    assert rows(result.events)[1]["user_id"] == "alice"
    opened, closed, late = rows(result.sessions)
    assert (closed["event_count"], late["event_count"], late["is_expired"]) == (1, 2, True)
    assert closed["version"] < late["version"]
    assert {key: late[key] for key in late if key not in ("event_count", "version")} == {
        key: closed[key] for key in closed if key not in ("event_count", "version")
    }
    assert (result.counts.late, result.counts.duplicates, opened["is_expired"]) == (1, 1, False)


def test_a_passive_event_in_an_open_session_takes_its_number_and_prolongs_nothing():
    log = Log()
    log.event(KEY, event_id="a")
    passive(log, "leave", START_MS + 20 * MINUTE_MS)
    log.event(KEY, event_id="b", at=START_MS + 31 * MINUTE_MS)
    numbers = [(row["event_id"], row["session_event_sequence"]) for row in rows(log.fold().events)]
    assert numbers == [("a", 1), ("leave", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("at", "is_taken"), [(30 * MINUTE_MS + DAY_MS, True), (30 * MINUTE_MS + DAY_MS + 1, False)], ids=["in", "after"]
)
def test_a_closed_session_takes_passive_events_for_the_grace_period(at: int, is_taken: bool):
    log = Log()
    log.event(KEY, event_id="a")
    passive(log, "leave", START_MS + at)
    result = log.fold()
    assert (len(result.events), result.counts.passive) == ((2, 0) if is_taken else (1, 1))


@pytest.mark.parametrize("workspace", ["w1", "w2"])
def test_a_passive_event_is_dropped_and_counted_where_its_workspace_has_no_session(workspace: str):
    log = Log()
    if workspace == "w2":
        log.event(KEY, event_id="a", workspace_id="w1")
    passive(log, "leave", START_MS, workspace_id=workspace)
    result = log.fold()
    assert (result.counts.passive, result.counts.opened) == (1, int(workspace == "w2"))
    assert [row["event_id"] for row in rows(result.events)] == (["a"] if workspace == "w2" else [])


@pytest.mark.parametrize("workspace", ["w1", ""])
def test_a_passive_event_of_no_workspace_is_numbered_in_the_closed_session_of_home(workspace: str):
    log = Log()
    log.event(KEY, event_id="a", workspace_id=workspace)
    log.expire(KEY)
    passive(log, "leave", START_MS)
    assert [(row["event_id"], row["workspace_id"]) for row in rows(log.fold().events)] == [
        ("a", workspace),
        ("leave", workspace),
    ]


@pytest.mark.parametrize("workspace", ["w1", ""])
def test_a_passive_event_that_names_the_first_workspace_is_not_taken_by_a_session_of_none(workspace: str):
    log = Log()
    log.event(KEY, event_id="a")
    passive(log, "leave", START_MS, workspace_id=workspace)
    result = log.fold()
    assert len(result.events) + result.counts.passive == 2
    assert result.counts.passive == (1 if workspace else 0)


def test_passive_events_do_not_carry_a_closed_session_beyond_its_cap():
    log = Log(Rules(max_events=2))
    log.event(KEY, event_id="a")
    log.expire(KEY)
    passive(log, "b", START_MS)
    passive(log, "c", START_MS)
    result = log.fold()
    assert ([row["session_event_sequence"] for row in rows(result.events)], result.counts.passive) == ([1, 2], 1)


def test_a_session_record_that_may_only_open_changes_nothing_of_an_open_session():
    log = Log()
    log.session(KEY, user_id="alice", timeout_seconds=600)
    log.session(KEY, user_id="mallory", timeout_seconds=300, visitor={"country": "FR"}, envelope={"open_only": True})
    log.event(KEY)
    result = log.fold()
    assert [(row["user_id"], row["session_timeout_seconds"]) for row in rows(result.sessions)] == [("alice", 600)]
    assert rows(result.events)[0]["user_id"] == "alice"


def test_a_session_record_that_may_only_open_opens():
    log = Log()
    log.session(KEY, user_id="alice", envelope={"open_only": True})
    assert [row["user_id"] for row in rows(log.fold().sessions)] == ["alice"]


def test_every_record_is_accounted_for():
    log = Log()
    log.session(KEY, workspace_id="w1")
    for event_id in ("a", "a", ""):
        log.event(KEY, event_id=event_id)
    passive(log, "p", START_MS, workspace_id="w2")
    log.flush(KEY)
    log.expire(KEY)
    log.raw(b"x", b"rubbish")
    log.tick(START_MS)
    counts = log.fold().counts
    assert counts.records == len(log.records) == counts.accounted
