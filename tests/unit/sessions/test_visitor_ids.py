"""Visitor ids: which one a session has, and what it hands on."""

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.rules import Rules

KEY = "session-1"
FIRST, SECOND = {"visitor_id": "v1"}, {"visitor_id": "v2"}
AFTER_TIME_OUT = START_MS + 40 * MINUTE_MS


def ids(log: Log) -> list[str]:
    return [row["visitor_id"] for row in rows(log.fold().sessions)]


@pytest.mark.parametrize("kind", ["event", "session"])
def test_the_record_that_opens_a_session_tells_it_whose_it_is(kind: str):
    log = Log()
    getattr(log, kind)(KEY, envelope=FIRST)
    assert ids(log) == ["v1"]


@pytest.mark.parametrize("kind", ["event", "session"])
def test_a_session_learns_later_whose_it_is_and_says_so_at_once(kind: str):
    log = Log()
    log.event(KEY)
    getattr(log, kind)(KEY, envelope=FIRST)
    log.event(KEY, envelope=FIRST)
    assert ids(log) == ["", "v1"]


@pytest.mark.parametrize("kind", ["event", "session"])
def test_a_session_keeps_the_first_id_that_it_is_told(kind: str):
    log = Log()
    log.event(KEY, envelope=FIRST)
    getattr(log, kind)(KEY, envelope=SECOND)
    log.expire(KEY)
    assert ids(log) == ["v1", "v1"]


def test_an_empty_id_says_nothing():
    log = Log()
    log.event(KEY, envelope={"visitor_id": ""})
    log.event(KEY, envelope=FIRST)
    assert ids(log) == ["", "v1"]


def test_an_id_is_told_beside_what_else_a_record_tells_of_its_visitor():
    log = Log()
    log.event(KEY)
    log.event(KEY, envelope=FIRST, visitor={"city": "Bonn"})
    row = rows(log.fold().sessions)[-1]
    assert (row["visitor_id"], row["city"]) == ("v1", "Bonn")


@pytest.mark.parametrize(("policy", "known"), [("all", "v1"), ("identity", "v1"), ("none", "")])
def test_the_next_session_of_a_key_is_the_same_visitors_as_far_as_it_inherits_whose_it_is(policy: str, known: str):
    log = Log(Rules(renewal_context=policy))
    log.event(KEY, envelope=FIRST)
    log.event(KEY, at=AFTER_TIME_OUT)
    assert ids(log) == ["v1", "v1", known]


def test_the_next_session_is_another_visitors_if_its_first_record_says_so():
    log = Log()
    log.event(KEY, envelope=FIRST)
    log.event(KEY, at=AFTER_TIME_OUT, envelope=SECOND)
    assert ids(log) == ["v1", "v1", "v2"]


def test_another_campaign_is_still_the_same_visitors():
    log = Log(Rules(campaign_change="split"))
    log.event(KEY, envelope=FIRST, visitor={"utm_source": "mail"})
    log.event(KEY, visitor={"utm_source": "ads"})
    assert ids(log) == ["v1", "v1", "v1"]


def test_a_session_record_that_may_only_open_does_not_say_whose_an_open_session_is():
    log = Log()
    log.event(KEY)
    log.session(KEY, envelope={"open_only": True, **FIRST})
    assert ids(log) == [""]


def test_beside_workers_of_the_last_release_no_session_has_an_id():
    log = Log(Rules(layout=2))
    log.event(KEY, envelope=FIRST)
    log.event(KEY, envelope=FIRST, visitor={"city": "Bonn"})
    assert ids(log) == ["", ""]


def test_numbered_events_have_the_fields_of_the_plan_alone():
    log = Log()
    log.event(KEY, envelope=FIRST)
    (row,) = rows(log.fold().events)
    assert "visitor_id" not in row
