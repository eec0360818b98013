"""What the live page shows: counts by the second, sessions by their latest news, the groups' progress; and to whom."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.local_clients import check_local
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.collect.live.window import LISTED_SESSIONS, MAX_SESSIONS, MAX_TIMELINE_EVENTS, LiveWindow, Progress

NOW_MS = 1_700_000_000_000
TIMEOUT_MS = 1_800_000


def event(session_id: str, number: int, **fields: object) -> dict[str, object]:
    always = {"event_type": "click", "page_url": "https://a.example/", "event_id": f"{session_id}-{number}"}
    return {"workspace_id": "w1", "session_id": session_id, "session_event_sequence": number, **always, **fields}


def session(session_id: str, **fields: object) -> dict[str, object]:
    empty = {"close_reason": "", "session_timeout_seconds": 300, "workspace_id": "w1", "ab_test_variant_id": "b"}
    return {"session_id": session_id, "session_key": f"{session_id}-key", "event_count": 1, **empty, **fields}


def test_traffic_is_the_last_minute_by_the_second_without_the_one_that_goes_on() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for at_ms, events in ((NOW_MS - 61_000, 7), (NOW_MS - 60_000, 2), (NOW_MS - 1, 3), (NOW_MS, 5)):
        window.count(at_ms, events)
    assert window.snapshot(NOW_MS, "")["traffic"] == [2, *[0] * 58, 3]


def test_counting_for_hours_keeps_the_last_minute_whole() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for second in range(10_000):
        window.count(NOW_MS + 1_000 * second)
    assert window.snapshot(NOW_MS + 10_000_000, "")["traffic"] == [1] * 60


def test_a_timeline_grows_by_number_and_takes_a_repeat_once() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for number in (1, 2, 2, 1, 3):
        window.add_event(event("s", number), NOW_MS)
    shown = window.snapshot(NOW_MS, "s")["session"]
    assert [entry["n"] for entry in shown["timeline"]] == [1, 2, 3]
    assert shown["events"] == 3


def test_sessions_of_two_workspaces_with_one_id_are_two() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for workspace, number in (("w1", 1), ("w2", 1), ("w1", 2)):
        window.add_event(event("s", number, workspace_id=workspace), NOW_MS)
    window.add_session(session("s", workspace_id="w2", close_reason="expired"), NOW_MS)
    shown = [(one["workspace_id"], one["events"], one["state"]) for one in window.snapshot(NOW_MS, "")["sessions"]]
    assert sorted(shown) == [("w1", 2, "open"), ("w2", 1, "expired")]


def test_a_timeline_keeps_its_last_events() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for number in range(1, MAX_TIMELINE_EVENTS + 11):
        window.add_event(event("s", number), NOW_MS)
    timeline = window.snapshot(NOW_MS, "s")["session"]["timeline"]
    assert [timeline[0]["n"], timeline[-1]["n"]] == [11, MAX_TIMELINE_EVENTS + 10]


def test_an_event_is_told_by_what_it_was_about() -> None:
    window = LiveWindow(TIMEOUT_MS)
    window.add_event(event("s", 1, clicked_element="button#buy", event_value="49.90"), NOW_MS)
    window.add_event(event("s", 2, scroll_percentage=75.0), NOW_MS)
    timeline = window.snapshot(NOW_MS, "s")["session"]["timeline"]
    assert [entry["about"] for entry in timeline] == ["button#buy 49.90", "75 %"]


def test_a_session_is_found_by_its_id_and_by_its_key_and_nothing_else_is() -> None:
    window = LiveWindow(TIMEOUT_MS)
    window.add_session(session("s"), NOW_MS)
    found = [window.snapshot(NOW_MS, key)["session"] for key in ("s", "s-key", "", "other")]
    assert [shown and shown["session_id"] for shown in found] == ["s", "s", None, None]


def test_a_session_is_open_until_its_own_timeout_then_due_and_closed_when_it_is_said_so() -> None:
    window = LiveWindow(TIMEOUT_MS)
    window.add_session(session("s"), NOW_MS)

    def state(at_ms: int) -> tuple[str, int]:
        shown = window.snapshot(at_ms, "")
        return shown["sessions"][0]["state"], shown["open_sessions"]

    assert [state(NOW_MS + 300_000), state(NOW_MS + 300_001)] == [("open", 1), ("due", 0)]
    window.add_session(session("s", close_reason="timeout"), NOW_MS)
    assert state(NOW_MS) == ("timeout", 0)


def test_the_latest_sessions_are_listed_first() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for n in range(LISTED_SESSIONS + 5):
        window.add_event(event(f"s{n}", 1), NOW_MS + n)
    window.add_event(event("s0", 2), NOW_MS + 100)
    listed = [shown["session_id"] for shown in window.snapshot(NOW_MS, "")["sessions"]]
    assert listed[:2] == ["s0", f"s{LISTED_SESSIONS + 4}"]
    assert len(listed) == LISTED_SESSIONS


def test_of_too_many_sessions_the_one_that_was_silent_for_longest_goes_and_the_count_says_so() -> None:
    window = LiveWindow(TIMEOUT_MS)
    for n in range(MAX_SESSIONS - 1):
        window.add_event(event(f"s{n}", 1), NOW_MS)
    assert window.snapshot(NOW_MS, "")["is_open_sessions_complete"]
    window.add_event(event("s0", 2), NOW_MS)
    for name in ("new", "newer"):
        window.add_event(event(name, 1), NOW_MS)
    assert window.snapshot(NOW_MS, "s1")["session"] is None
    shown = window.snapshot(NOW_MS, "s0")
    assert shown["session"]["events"] == 2
    assert not shown["is_open_sessions_complete"]


def test_a_group_is_stalled_only_if_there_is_work_and_it_has_not_moved_for_so_long() -> None:
    progress = Progress()
    assert progress.health(NOW_MS, 15_000) == "unknown"
    progress.note(committed=10, lag=5, now_ms=NOW_MS)
    progress.note(committed=10, lag=9, now_ms=NOW_MS + 14_999)
    assert progress.health(NOW_MS + 14_999, 15_000) == "ok"
    assert progress.health(NOW_MS + 15_000, 15_000) == "stalled"
    progress.note(committed=11, lag=9, now_ms=NOW_MS + 16_000)
    assert progress.health(NOW_MS + 16_000, 15_000) == "ok"


def test_a_group_without_work_is_never_stalled() -> None:
    progress = Progress()
    progress.note(committed=10, lag=0, now_ms=NOW_MS)
    assert progress.health(NOW_MS + 60_000, 15_000) == "ok"


def asked(peer: str, headers: dict[str, str]) -> Request:
    return Request("GET", "/live/data", "", CIMultiDictProxy(CIMultiDict(headers)), b"", peer)


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "localhost"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_live_data_are_shown_on_the_machine_itself(host: str, peer: str) -> None:
    check_local(asked(peer, {"Host": host}))


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("203.0.113.9", {"Host": "localhost:8000"}),
        ("", {"Host": "localhost:8000"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": "rebound.example:8000"}),
        ("127.0.0.1", {"Host": "localhost:8000", "X-Forwarded-For": "203.0.113.9"}),
        ("127.0.0.1", {"Host": "localhost:8000", "Forwarded": "for=203.0.113.9"}),
        ("127.0.0.1", {"Host": "localhost:8000", "X-Real-IP": "203.0.113.9"}),
    ],
)
def test_live_data_are_shown_to_nobody_else(peer: str, headers: dict[str, str]) -> None:
    with pytest.raises(RequestError) as refused:
        check_local(asked(peer, headers))
    assert refused.value.code == "forbidden"
