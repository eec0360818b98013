"""What is told of a session: the plan's state, its remaining lifetime, and where in the log it stands."""

import pytest

from tracker.process.session_view import session_view
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState

#: DOSessionState of the plan, in snake_case.
PLAN = [
    "session_id",
    "user_id",
    "campaign_id",
    "workspace_id",
    "project_id",
    "attribution_id",
    "landing_page_id",
    "ab_test_id",
    "ab_test_variant_id",
    "event_buffer",
    "event_sequence",
    "last_activity",
    "session_timeout",
    "created_at",
    "is_expired",
]
RULES = Rules()


def view(state: SessionState, now_ms: int) -> dict:
    return session_view("k", state, rules=RULES, now_ms=now_ms, source_offset=7, place={"from": "owner"})


def open_session(**context: str) -> SessionState:
    return SessionState(
        session_id="s",
        ordinal=1,
        created_ms=1_000,
        last_activity_ms=5_000,
        timeout_ms=60_000,
        sequence=3,
        context=context,
    )


def test_it_has_every_field_of_the_plans_state():
    state = open_session(user_id="u", ab_test_id="t", ab_test_variant_id="v")
    assert set(PLAN) <= set(view(state, 6_000))
    assert view(state, 6_000)["user_id"] == "u"


def test_an_open_session_says_how_long_it_has_left():
    found = view(open_session(), 20_000)
    assert (found["deadline"], found["remaining_ms"], found["is_expired"]) == (65_000, 45_000, False)


@pytest.mark.parametrize("now_ms", [65_000, 65_001, 10_000_000])
def test_a_session_past_its_deadline_has_nothing_left_and_is_expired_only_once_the_log_says_so(now_ms):
    found = view(open_session(), now_ms)
    assert (found["remaining_ms"], found["is_expired"]) == (0, False)


def test_context_that_nobody_gave_is_empty_and_of_tests_not_named():
    found = view(open_session(user_id="u"), 6_000)
    assert (found["user_id"], found["campaign_id"], found["workspace_id"]) == ("u", "", "")
    assert "ab_test_id" not in found


def test_a_session_that_is_closed_has_nothing_left_however_early_the_clock_is():
    state = open_session()
    state.close("timeout", 65_000)
    assert view(state, 1_000)["remaining_ms"] == 0


def test_a_closed_session_keeps_its_context_and_says_why_and_when_it_ended():
    state = open_session(user_id="u")
    state.close("timeout", 65_000)
    found = view(state, 70_000)
    assert (found["is_expired"], found["close_reason"], found["deadline"]) == (True, "timeout", 65_000)
    assert (found["remaining_ms"], found["event_sequence"], found["user_id"]) == (0, 3, "u")
