"""What ``tracker demo`` prints for a row, and which rows it takes for new."""

from tracker.demo.live import Arrivals, closed_line, event_line
from tracker.tinybird.sql import quoted

ROW = {
    "id": "1",
    "timestamp": "2026-01-02 03:04:05.678",
    "session_id": "0190a1b2-0000-7000-8000-00000000abcd",
    "session_event_sequence": 7,
    "event_type": "click",
    "page_url": "http://localhost:8000/demo",
    "clicked_element": "button#buy[x]",
    "form_id": None,
    "scroll_percentage": None,
    "event_value": "",
}


def window(*ids: str) -> list[dict[str, str]]:
    return [{"id": name} for name in ids]


def test_only_rows_that_were_not_there_before_are_new_and_the_oldest_comes_first() -> None:
    arrivals = Arrivals()
    arrivals.take(window("b", "a"))
    assert arrivals.take(window("d", "c", "b", "a")) == window("c", "d")
    assert arrivals.take(window("d", "c", "b")) == []


def test_an_event_is_one_line() -> None:
    line = event_line(ROW).plain
    assert line == "03:04:05.678  00000000abcd    7  click        button#buy[x] http://localhost:8000/demo"


def test_a_scroll_shows_how_far() -> None:
    row = {**ROW, "event_type": "scroll", "clicked_element": None, "scroll_percentage": 50.0}
    assert "scroll       50 % http" in event_line(row).plain


def test_the_end_of_a_session_says_why() -> None:
    row = {
        "id": "s",
        "session_id": "s",
        "close_reason": "timeout",
        "event_count": 3,
        "closed_at": "2026-01-02 03:04:05.678",
    }
    assert closed_line(row).plain.endswith("session closed (timeout) after 3 events")


def test_a_literal_cannot_end_early() -> None:
    assert quoted("it's \\") == r"'it\'s \\'"
