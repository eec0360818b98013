"""A session belongs to a workspace: two workspaces under one key share nothing."""

from itertools import product
from typing import Any

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from topics.codec import RejectedRecord, decode_source
from tracker.sessions.rules import Rules

KEY = "1001"
SHORT_STUBS = Rules(closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=MINUTE_MS)


def numbered(log: Log) -> list[tuple[str, str, str, int]]:
    """Workspace, session, event and number of every event row."""
    return [
        (row["workspace_id"], row["session_id"], row["event_id"], row["session_event_sequence"])
        for row in rows(log.fold().events)
    ]


def test_two_workspaces_under_one_key_have_sessions_and_numbers_of_their_own():
    log = Log()
    for workspace, event in (("w1", "a"), ("w2", "b"), ("w1", "c"), ("w2", "d")):
        log.event(KEY, event_id=event, workspace_id=workspace)
    assert numbered(log) == [("w1", KEY, "a", 1), ("w2", KEY, "b", 1), ("w1", KEY, "c", 2), ("w2", KEY, "d", 2)]


def test_what_one_workspace_says_of_its_session_fills_no_row_of_another():
    log = Log()
    log.session(KEY, workspace_id="w1", user_id="alice", campaign_id="spring")
    log.event(KEY, workspace_id="w2", event_id="a")
    log.session(KEY, workspace_id="w2", user_id="bob")
    log.event(KEY, workspace_id="w1", event_id="b")
    result = log.fold()
    found = [(row["workspace_id"], row["user_id"], row["campaign_id"]) for row in rows(result.events)]
    assert found == [("w2", "", ""), ("w1", "alice", "spring")]
    users = [(row["workspace_id"], row["user_id"]) for row in rows(result.sessions)]
    assert users == [("w1", "alice"), ("w2", ""), ("w2", "bob")]


def test_an_event_id_that_another_workspace_has_used_is_no_duplicate():
    log = Log()
    for workspace in ("w2", "w1", "w1"):
        log.event(KEY, event_id="order-1", workspace_id=workspace)
    assert [row[0] for row in numbered(log)] == ["w2", "w1"]


def test_a_record_that_names_no_workspace_belongs_to_the_first_that_was_named():
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w1")
    log.event(KEY, event_id="b", workspace_id="w2")
    log.event(KEY, event_id="c")
    assert numbered(log)[-1] == ("w1", KEY, "c", 2)


@pytest.mark.parametrize("named", ["envelope", "data"])
def test_a_record_names_its_workspace_in_the_envelope_or_in_its_data(named: str):
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w1")
    if named == "envelope":
        log.event(KEY, event_id="b", envelope={"workspace_id": "w2"})
    else:
        log.event(KEY, event_id="b", workspace_id="w2")
    assert numbered(log)[-1] == ("w2", KEY, "b", 1)


def test_a_record_that_names_two_workspaces_is_rejected():
    value = (
        b'{"type":"event","session_id":"1001","timestamp":"2026-01-01T00:00:00Z","workspace_id":"w1",'
        b'"data":{"event_type":"click","workspace_id":"w2"}}'
    )
    with pytest.raises(RejectedRecord, match="names one workspace and its data another"):
        decode_source(KEY.encode(), value)
    assert decode_source(KEY.encode(), value.replace(b'"w2"', b'"w1"'))
    assert decode_source(KEY.encode(), value.replace(b'"w2"', b'""'))


def test_a_session_of_no_workspace_ends_where_the_first_is_named_and_hands_its_context_on():
    log = Log()
    log.event(KEY, event_id="a", campaign_id="spring", visitor={"country": "DE"})
    log.session(KEY, workspace_id="w1", user_id="alice")
    log.event(KEY, event_id="b")
    result = log.fold()
    found = [
        (row["workspace_id"], row["session_id"], row["campaign_id"], row["country"], row["close_reason"])
        for row in rows(result.sessions)
    ]
    assert found == [
        ("", KEY, "spring", "DE", ""),
        ("", KEY, "spring", "DE", "claimed"),
        ("w1", KEY, "spring", "DE", ""),
    ]
    numbers = [(row["workspace_id"], row["session_event_sequence"], row["user_id"]) for row in rows(result.events)]
    assert numbers == [("", 1, ""), ("w1", 1, "alice")]


def test_an_expire_of_another_workspace_finds_nothing_and_of_none_closes_home():
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w1")
    log.event(KEY, event_id="b", workspace_id="w2")
    log.expire(KEY, envelope={"workspace_id": "w3"})
    log.expire(KEY, envelope={"workspace_id": "w2"})
    log.expire(KEY)
    closed = [row["workspace_id"] for row in rows(log.fold().sessions) if row["is_expired"]]
    assert closed == ["w2", "w1"]


def test_an_expire_that_names_a_workspace_does_not_close_a_session_of_none():
    log = Log()
    log.event(KEY)
    log.expire(KEY, workspace_id="w1")
    assert [row["is_expired"] for row in rows(log.fold().sessions)] == [False]


def test_each_session_of_a_key_ends_at_its_own_deadline():
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w1")
    log.event(KEY, event_id="b", workspace_id="w2", at=START_MS + 10 * MINUTE_MS)
    log.tick(at=START_MS + 35 * MINUTE_MS)
    log.event(KEY, event_id="c", workspace_id="w2", at=START_MS + 36 * MINUTE_MS)
    log.tick(at=START_MS + 90 * MINUTE_MS)
    closed = [(row["workspace_id"], row["event_count"]) for row in rows(log.fold().sessions) if row["is_expired"]]
    assert closed == [("w1", 1), ("w2", 2)]


def test_a_workspace_finds_its_session_after_the_home_of_its_key_was_forgotten():
    log = Log(SHORT_STUBS)
    log.event(KEY, event_id="a", workspace_id="w1")
    log.expire(KEY)
    log.event(KEY, event_id="b", workspace_id="w2")
    log.tick(at=START_MS + 5 * MINUTE_MS)
    log.event(KEY, event_id="c", workspace_id="w2", at=START_MS + 5 * MINUTE_MS)
    log.event(KEY, event_id="d", at=START_MS + 5 * MINUTE_MS)
    log.event(KEY, event_id="e", workspace_id="w2", at=START_MS + 5 * MINUTE_MS)
    log.event(KEY, event_id="f", workspace_id="w3", at=START_MS + 5 * MINUTE_MS)
    log.event(KEY, event_id="g", at=START_MS + 5 * MINUTE_MS)
    found = [(workspace, event, number) for workspace, _, event, number in numbered(log)]
    assert found == [
        ("w1", "a", 1),
        ("w2", "b", 1),
        ("w2", "c", 2),
        ("", "d", 1),  # home is unknown, and opens anew
        ("w2", "e", 3),  # which does not give it to the workspace that has a row already
        ("w3", "f", 1),  # but to the first that has none
        ("w3", "g", 2),
    ]


OWNERS = ("w1", "w2")
ACTIONS = ("event", "session", "expire", "passive", "repeat")


def act(log: Log, owner: str, action: str, nth: int) -> None:
    """One record of a workspace, the same whatever else is in the log."""
    at = START_MS + nth * MINUTE_MS
    match action:
        case "event":
            log.event(KEY, at, event_id=f"e{nth}", workspace_id=owner)
        case "session":
            log.session(KEY, at, workspace_id=owner, user_id=f"{owner}-user-{nth}")
        case "expire":
            log.expire(KEY, at, envelope={"workspace_id": owner})
        case "passive":
            log.event(KEY, at, event_id=f"p{nth}", workspace_id=owner, envelope={"passive": True})
        case "repeat":
            log.event(KEY, at, event_id="e0", workspace_id=owner)


def told(log: Log, owner: str) -> list[dict[str, Any]]:
    """All rows of a workspace, but for where in the log they come from."""
    result = log.fold()
    found = [*rows(result.events), *rows(result.sessions)]
    return [{k: v for k, v in row.items() if k != "version"} for row in found if row["workspace_id"] == owner]


@pytest.mark.parametrize(("first", "second", "third"), list(product(ACTIONS, repeat=3)))
def test_whatever_another_workspace_does_under_a_key_changes_nothing_for_this_one(first: str, second: str, third: str):
    shared, alone = Log(), {owner: Log() for owner in OWNERS}
    for nth, action in enumerate(("event", first, second, third, "event")):
        for owner in OWNERS:
            act(shared, owner, action if owner == "w1" else ACTIONS[nth % len(ACTIONS)], nth)
            act(alone[owner], owner, action if owner == "w1" else ACTIONS[nth % len(ACTIONS)], nth)
    for owner, log in alone.items():
        copy = Log()
        copy.records = list(shared.records)
        assert told(copy, owner) == told(log, owner)
