"""A session that no person makes is closed at a cap, and the next event renews it."""

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.rules import Rules

KEY = "machine-1"


def test_at_the_event_cap_the_session_is_closed_and_the_next_event_renews_it():
    log = Log(Rules(max_events=2))
    for name in "abcde":
        log.event(KEY, event_id=name)
    result = log.fold()
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2, 1, 2, 1]
    closed = [(r["close_reason"], r["event_count"]) for r in rows(result.sessions) if r["is_expired"]]
    assert closed == [("cap", 2), ("cap", 2)]
    assert len({r["session_id"] for r in rows(result.events)}) == 3
    assert result.counts.closed == {"cap": 2}


def test_a_retry_that_comes_after_the_cut_is_still_a_duplicate():
    log = Log(Rules(max_events=2))
    for name in ("a", "b", "b", "a", "c", "b"):
        log.event(KEY, event_id=name)
    result = log.fold()
    assert [(r["event_id"], r["session_event_sequence"]) for r in rows(result.events)] == [("a", 1), ("b", 2), ("c", 1)]
    assert result.counts.duplicates == 3


@pytest.mark.parametrize("ends_by", ["expire", "timeout"])
def test_a_retry_after_the_end_of_the_session_is_a_duplicate(ends_by: str):
    log = Log()
    log.event(KEY, event_id="a")
    if ends_by == "expire":
        log.expire(KEY)
    log.event(KEY, event_id="a", at=START_MS + (31 * MINUTE_MS if ends_by == "timeout" else 1))
    assert len(rows(log.fold().events)) == 1


def test_context_at_its_cap_closes_the_session_after_the_record_that_filled_it():
    log = Log(Rules(max_context_bytes=10))
    log.session(KEY, user_id="12345")
    log.session(KEY, campaign_id="12345")
    log.event(KEY, event_id="a")
    result = log.fold()
    found = [(r["user_id"], r["campaign_id"], r["close_reason"]) for r in rows(result.sessions)]
    assert found == [("12345", "", ""), ("12345", "12345", ""), ("12345", "12345", "cap"), ("12345", "", "")]
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1]


def test_what_an_event_brings_along_or_a_session_inherits_counts_for_the_cap_too():
    log = Log(Rules(max_context_bytes=4))
    log.event(KEY, event_id="a", visitor={"city": "Köln"})
    log.event(KEY, event_id="b")
    assert [r["close_reason"] for r in rows(log.fold().sessions)] == ["", "cap", "", "cap"]


def test_a_session_that_follows_a_cap_begins_with_the_visitor_of_the_last_one():
    log = Log(Rules(max_events=2))
    log.event(KEY, event_id="a", visitor={"city": "Köln", "utm_source": "mail"})
    for event_id in ("b", "c"):  # of the same batch, in which only the first event names the visitor
        log.event(KEY, event_id=event_id)
    log.event(KEY, event_id="d", visitor={"city": "Bonn"})
    log.event(KEY, event_id="e", visitor={"city": "Bonn"})
    found = [(r["city"], r["utm_source"], r["close_reason"]) for r in rows(log.fold().sessions)]
    told = [("Köln", "mail", ""), ("Köln", "mail", "cap")]
    assert found == [*told, *told, ("Bonn", "", "")]


def test_a_session_that_is_beyond_a_cap_which_was_lowered_is_closed_by_the_next_record_that_tells_it_something():
    log = Log()
    log.session(KEY, user_id="12345")
    log.fold()
    log.rules = Rules(max_context_bytes=4)
    log.recover()
    log.session(KEY, user_id="12345")
    log.event(KEY)
    assert [r["close_reason"] for r in rows(log.fold().sessions)] == []
    log.session(KEY, user_id="54321")
    assert [r["close_reason"] for r in rows(log.fold().sessions)] == ["", "cap"]
