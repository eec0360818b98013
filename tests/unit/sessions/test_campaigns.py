"""Campaigns: the touches of a session, and what another campaign does to it."""

import orjson
import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.context import MAX_TOUCHES
from tracker.sessions.rules import Rules

KEY = "visitor-1"
MAIL = {"city": "Bonn", "utm_source": "mail", "utm_campaign": "spring"}
ADS = {"city": "Bonn", "utm_source": "ads", "click_id": "abc", "click_id_type": "gclid"}
DIRECT = {"city": "Bonn"}
SPLIT = Rules(campaign_change="split")


def touched_by(row: dict) -> list[str]:
    return [touch["utm_source"] for touch in orjson.loads(row["touches"])]


@pytest.mark.parametrize("rules", [Rules(), SPLIT])
def test_the_campaign_that_a_session_begins_with_is_its_first_touch(rules: Rules):
    log = Log(rules)
    log.event(KEY, visitor=ADS)
    (row,) = rows(log.fold().sessions)
    campaign = {name: value for name, value in ADS.items() if name != "city"}
    assert orjson.loads(row["touches"]) == [{"at": row["created_at"], **campaign}]


def test_a_session_that_came_by_no_campaign_has_no_touches():
    log = Log()
    log.event(KEY, visitor=DIRECT)
    (row,) = rows(log.fold().sessions)
    assert row["touches"] == "[]"


def test_another_campaign_leaves_a_touch_and_the_session_goes_on():
    log = Log()
    for visitor in (MAIL, MAIL, DIRECT, ADS, DIRECT, ADS, MAIL):
        log.event(KEY, visitor=visitor)
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 2, 3, 4, 5, 6, 7]
    assert [touched_by(row) for row in rows(result.sessions)] == [["mail"], ["mail", "ads"], ["mail", "ads", "mail"]]
    assert {row["utm_source"] for row in rows(result.sessions)} == {"mail"}


def test_a_session_keeps_its_first_touch_and_the_latest():
    log = Log()
    for number in range(MAX_TOUCHES + 5):
        log.event(KEY, visitor={"utm_source": str(number)})
    row = rows(log.fold().sessions)[-1]
    assert touched_by(row) == ["0", *map(str, range(6, MAX_TOUCHES + 5))]


@pytest.mark.parametrize("kind", ["event", "session"])
def test_with_split_another_campaign_ends_the_session_and_begins_the_next(kind: str):
    log = Log(SPLIT)
    log.session(KEY, user_id="alice", workspace_id="w1", campaign_id="spring", visitor=MAIL)
    log.event(KEY, visitor=MAIL)
    at = START_MS + MINUTE_MS
    if kind == "session":
        log.session(KEY, at=at, visitor=ADS)
    log.event(KEY, at=at, visitor=ADS)
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 1]
    first, closed, opened = rows(result.sessions)
    assert (first["close_reason"], closed["close_reason"], opened["close_reason"]) == ("", "campaign", "")
    assert (closed["session_id"], closed["event_count"], touched_by(closed)) == (KEY, 1, ["mail"])
    assert opened["session_id"] != KEY
    assert (opened["utm_source"], touched_by(opened)) == ("ads", ["ads"])
    assert (opened["user_id"], opened["workspace_id"], opened["campaign_id"]) == ("alice", "w1", "")


def test_with_split_another_click_alone_begins_a_session():
    log = Log(SPLIT)
    for click in ("a", "a", "b"):
        log.event(KEY, visitor={"click_id": click, "click_id_type": "gclid"})
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 2, 1]
    assert [row["close_reason"] for row in rows(result.sessions)] == ["", "campaign", ""]


@pytest.mark.parametrize(("late_ms", "reason"), [(0, "campaign"), (1, "timeout")])
def test_with_split_a_campaign_at_the_deadline_still_finds_the_session_open(late_ms: int, reason: str):
    log = Log(SPLIT)
    log.event(KEY, visitor=MAIL)
    log.event(KEY, at=START_MS + SPLIT.timeout_ms + late_ms, visitor=ADS)
    assert [row["close_reason"] for row in rows(log.fold().sessions)] == ["", reason, ""]


def test_with_split_a_session_that_was_closed_is_not_closed_again_by_a_campaign():
    log = Log(SPLIT)
    log.event(KEY, visitor=MAIL)
    log.expire(KEY)
    log.event(KEY, visitor=ADS)
    found = rows(log.fold().sessions)
    assert [row["close_reason"] for row in found] == ["", "expired", ""]
    assert [touched_by(row) for row in found] == [["mail"], ["mail"], ["ads"]]


def test_with_split_a_visitor_who_came_directly_and_then_by_a_campaign_has_two_sessions():
    log = Log(SPLIT)
    log.event(KEY, visitor=DIRECT)
    log.event(KEY, visitor=ADS)
    assert [row["session_event_sequence"] for row in rows(log.fold().events)] == [1, 1]


@pytest.mark.parametrize("visitor", [MAIL, DIRECT, None])
def test_with_split_the_same_campaign_or_none_splits_nothing(visitor: dict | None):
    log = Log(SPLIT)
    log.event(KEY, visitor=MAIL)
    log.event(KEY, visitor=visitor)
    assert [row["session_event_sequence"] for row in rows(log.fold().events)] == [1, 2]


def test_with_split_a_passive_event_and_a_session_that_may_only_open_split_nothing():
    log = Log(SPLIT)
    log.event(KEY, visitor=MAIL)
    log.event(KEY, visitor=ADS, envelope={"passive": True})
    log.session(KEY, visitor={"utm_source": "other"}, envelope={"open_only": True})
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 2]
    assert {row["session_id"] for row in rows(result.sessions)} == {KEY}


def test_with_split_a_session_whose_visitor_is_not_known_takes_any_campaign():
    log = Log(SPLIT)
    log.session(KEY, user_id="alice")
    log.event(KEY, visitor=ADS)
    result = log.fold()
    assert {row["session_id"] for row in rows(result.sessions)} == {KEY}
    assert touched_by(rows(result.sessions)[-1]) == ["ads"]


def test_with_split_a_repeated_event_of_another_campaign_splits_nothing():
    log = Log(SPLIT)
    log.event(KEY, event_id="a", visitor=MAIL)
    log.event(KEY, event_id="a", visitor=ADS)
    result = log.fold()
    assert (len(result.events), len(result.sessions)) == (1, 1)


def test_after_a_cap_the_campaign_goes_on_and_splits_nothing():
    log = Log(Rules(campaign_change="split", max_events=2))
    for _ in range(3):
        log.event(KEY, visitor=MAIL)
    reasons = [row["close_reason"] for row in rows(log.fold().sessions)]
    assert reasons == ["", "cap", ""]


@pytest.mark.parametrize("ended_by", ["expire", "timeout"])
def test_the_row_of_a_session_that_takes_a_passive_event_after_its_end_still_says_who_came_and_by_what(ended_by: str):
    log = Log()
    log.event(KEY, visitor=MAIL)
    if ended_by == "expire":
        log.expire(KEY)
    log.event(KEY, at=START_MS + 40 * MINUTE_MS, envelope={"passive": True})
    row = rows(log.fold().sessions)[-1]
    assert (row["is_expired"], row["event_count"]) == (True, 2)
    assert (row["city"], row["utm_source"], touched_by(row)) == ("Bonn", "mail", ["mail"])


def test_the_session_after_a_time_out_begins_without_the_visitor_of_the_last_one():
    log = Log()
    log.event(KEY, visitor=MAIL)
    log.event(KEY, at=START_MS + 40 * MINUTE_MS)
    row = rows(log.fold().sessions)[-1]
    assert (row["is_expired"], row["city"], row["touches"]) == (False, "", "[]")
