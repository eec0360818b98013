"""The comparison of what a browser sent with what was stored finds every kind of difference."""

from typing import Any

import pytest

from tracker.demo.compare import SentEvent, Visit, compare_events, find_faults

SENT = (SentEvent("a", "pageview", ""), SentEvent("b", "scroll", "100 %"), SentEvent("c", "click", "button"))
VISIT = Visit("s1", ("pageview", "click"), SENT)
SESSION = {"session_id": "s1", "session_key": "s1"}


def rows(*events: tuple[str, str, int]) -> list[dict[str, Any]]:
    names = ("event_id", "event_type", "session_event_sequence")
    return [dict(zip(names, event, strict=True)) for event in events]


RIGHT = rows(("a", "pageview", 1), ("b", "scroll", 2), ("c", "click", 3))


def faults(
    stored: list[dict[str, Any]], visit: Visit = VISIT, sessions: tuple[dict[str, str], ...] = (SESSION,)
) -> list[str]:
    return find_faults(visit, compare_events(visit.events, stored), sessions)


def test_every_event_with_its_number_is_no_fault() -> None:
    assert faults(RIGHT) == []


def test_the_order_of_the_rows_does_not_matter_but_their_numbers_do() -> None:
    assert faults(RIGHT[::-1]) == []


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        (RIGHT[:2], "event 3: not stored"),
        ([*RIGHT, *rows(("d", "click", 4))], "event 4: never sent"),
        (rows(("a", "pageview", 1), ("b", "scroll", 2), ("c", "conversion", 3)), "event 3: another type"),
        (rows(("a", "pageview", 1), ("b", "scroll", 2), ("c", "click", 4)), "event 3: numbered wrong"),
        (rows(("a", "pageview", 1), ("c", "click", 2), ("b", "scroll", 3)), "event 2: another event"),
        (rows(("a", "pageview", 1), ("b", "scroll", 2), ("b", "scroll", 2)), "event 3: another event"),
    ],
)
def test_what_differs_is_found(stored: list[dict[str, Any]], fault: str) -> None:
    assert fault in faults(stored)


def test_a_missing_session_row_is_a_fault() -> None:
    assert faults(RIGHT, sessions=()) == ["session_v1 has 0 rows for the session instead of one"]


def test_an_action_that_was_not_reported_is_a_fault() -> None:
    visit = Visit("s1", ("pageview", "click", "form_submit"), SENT)
    (fault,) = faults(RIGHT, visit)
    assert fault.startswith("the visitor did pageview, click, form_submit and scrolled")
