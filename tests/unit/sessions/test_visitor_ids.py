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


@pytest.mark.parametrize("visitor", [{}, {"city": ""}])
def test_an_id_is_told_at_once_beside_a_visitor_of_whom_nothing_is_known(visitor: dict[str, str]):
    log = Log()
    log.event(KEY)
    log.event(KEY, envelope=FIRST, visitor=visitor)
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


@pytest.mark.parametrize("policy", ["all", "identity"])
@pytest.mark.parametrize(("answer", "known"), [("granted", "v1"), ("denied", "")])
def test_who_takes_consent_back_in_a_session_is_not_known_in_the_next(policy: str, answer: str, known: str):
    log = Log(Rules(renewal_context=policy))
    log.session(KEY, consent_analytics="granted", user_id="u1", envelope=FIRST)
    log.session(KEY, consent_analytics=answer)
    log.event(KEY, at=AFTER_TIME_OUT)
    found = rows(log.fold().sessions)
    assert [row["visitor_id"] for row in found] == ["v1"] * (len(found) - 1) + [known]
    assert (found[-1]["session_id"] != KEY, found[-1]["user_id"]) == (True, "u1")


def test_who_has_taken_consent_back_is_known_again_after_another_yes():
    log = Log()
    log.session(KEY, consent_analytics="denied", envelope=FIRST)
    log.session(KEY, at=AFTER_TIME_OUT, consent_analytics="granted", envelope=SECOND)
    assert ids(log) == ["v1", "v1", "v2"]


def test_an_id_in_another_spelling_is_another_visitor_and_any_text_is_one():
    log = Log()
    for number, visitor_id in enumerate(["01A20BC4-6DB1-7727-96D7-27D374D76C47", "customer 7", "ü"]):
        log.event(f"{KEY}-{number}", envelope={"visitor_id": visitor_id})
        log.event(f"{KEY}-{number}", envelope={"visitor_id": visitor_id.lower()})
    assert ids(log) == ["01A20BC4-6DB1-7727-96D7-27D374D76C47", "customer 7", "ü"]


def test_two_workspaces_may_know_different_visitors_by_one_id():
    log = Log()
    log.event(KEY, envelope={"workspace_id": "w1", **FIRST})
    log.event(KEY, envelope={"workspace_id": "w2", **FIRST})
    found = rows(log.fold().sessions)
    assert [(row["workspace_id"], row["visitor_id"]) for row in found] == [("w1", "v1"), ("w2", "v1")]


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
