"""The small parts of the fold by themselves, at their edges: the memory of events, a state's times."""

from dataclasses import replace
from sys import getrefcount

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.memory import ENTRY_BYTES, EventMemory
from tracker.sessions.rules import SECOND_MS, Rules
from tracker.sessions.state import Pages, SessionState, forgotten
from tracker.sessions.working_table import At

WINDOW_MS = 60 * MINUTE_MS


def new_state(recent: bytes = b"") -> SessionState:
    return SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1, recent=recent)


def entry(event_id: bytes, content: bytes, seconds: int = 0) -> bytes:
    found = event_id + content + seconds.to_bytes(4, "big")
    assert len(found) == ENTRY_BYTES
    return found


@pytest.mark.parametrize(
    ("recent", "verdict"),
    [
        (entry(b"ABCDEFGH", b"123456"), "duplicate"),
        (entry(b"ABCDEFGH", b"654321"), "reused"),
        # The id as the end of one entry and the beginning of the next.
        (entry(b"xxxxxxxx", b"yyyyyA", 0x42434445) + entry(b"FGHzzzzz", b"123456"), "new"),
        (entry(b"xxABCDEF", b"GHyyyy") + entry(b"ABCDEFGH", b"123456"), "duplicate"),
        (entry(b"ABCDEFGH", b"654321") + entry(b"ABCDEFGH", b"123456"), "duplicate"),
        # Another event's content and time, read one byte too late, look like this event's.
        (entry(b"ABCDEFGH", b"712345", 0x36000000) + entry(b"ABCDEFGH", b"654321"), "reused"),
    ],
)
@pytest.mark.parametrize("is_in_a_page", [False, True])
def test_an_event_is_found_where_an_entry_begins_and_nowhere_else(recent: bytes, verdict: str, is_in_a_page: bool):
    state, read_pages = new_state(b"" if is_in_a_page else recent), lambda _: [recent]
    if is_in_a_page:
        state.pages = Pages(began_ms=1, first=0, current=0, end=1)
    memory = EventMemory(At(), read_pages, window_ms=WINDOW_MS, page_events=64)
    assert memory.judge(b"s", state, b"ABCDEFGH123456", 0) == verdict


def test_an_id_that_begins_where_the_entry_before_it_ends_is_found():
    recent = entry(b"xxxxxxxx", b"yyyyyy", 0x41) + entry(b"AAAAAAAA", b"123456")
    memory = EventMemory(At(), lambda _: [], window_ms=WINDOW_MS, page_events=64)
    assert memory.judge(b"s", new_state(recent), b"AAAAAAAA123456", 0) == "duplicate"


@pytest.mark.parametrize(("later_ms", "is_taken"), [(499, False), (998, False), (999, True)])
def test_a_page_stays_until_the_last_of_its_events_is_out_of_the_window(later_ms: int, is_taken: bool):
    """Events are told in whole seconds: the pages have to stay for the rest of the last one."""
    log = Log(Rules(page_events=1, duplicate_window_ms=WINDOW_MS, timeout_ms=10 * WINDOW_MS, max_length_ms=10**9))
    last_ms = START_MS + WINDOW_MS + SECOND_MS
    log.event("s", START_MS, event_id="first")
    log.event("s", last_ms, event_id="last of its pages")
    log.event("s", last_ms + 1, event_id="turns the pages")
    log.event("s", last_ms + 1 + WINDOW_MS + later_ms, event_id="turns them again")
    log.event("s", last_ms + 1 + WINDOW_MS + later_ms, event_id="last of its pages")
    assert len(rows(log.fold().events)) == 4 + is_taken


def test_an_event_is_a_duplicate_to_the_end_of_its_window_however_often_pages_turn():
    window_seconds, step_ms = 10, 450
    log = Log(Rules(page_events=1, duplicate_window_ms=window_seconds * SECOND_MS))
    times = [START_MS + number * step_ms for number in range(200)]
    for at in times:
        log.event("s", at, event_id=str(at))
        oldest = min(time for time in times if at // SECOND_MS - time // SECOND_MS <= window_seconds)
        log.event("s", at, event_id=str(oldest))
    written: set[bytes] = set()
    for upto in range(1, len(log.records) + 1):
        result = log.fold(upto)
        removed = {key for key, page in result.pages.items() if page.content is None}
        assert removed <= written
        written = (written | result.pages.keys()) - removed
        assert result.counts.duplicates == (upto - 1) % 2
    assert len(written) < len(times) / 2


def test_a_state_stays_as_it_is_up_to_its_deadline():
    rules = Rules(timeout_ms=1, max_length_ms=100, closed_stub_retention_ms=10_000, forgotten_retention_ms=5)
    state = SessionState(session_id="s", ordinal=0, created_ms=1_000, last_activity_ms=1_070, timeout_ms=20)
    assert state.deadline_ms(rules) == 1_090
    state.touch(1_099)
    assert state.deadline_ms(rules) == 1_100
    state.close("max_length", 1_100)
    assert state.deadline_ms(rules) == 11_100
    state.remembered_ms = 1_099
    brief = replace(rules, duplicate_window_ms=2_000)
    assert (state.deadline_ms(rules), state.deadline_ms(brief)) == (11_100, 1_099 + 2_000 + SECOND_MS)
    assert forgotten(11_101).deadline_ms(rules) == 11_106


def test_activity_never_moves_backwards():
    state = new_state()
    state.touch(START_MS)
    state.touch(START_MS - 1)
    assert state.last_activity_ms == START_MS


def test_a_fold_keeps_nothing_of_a_chunk_that_it_has_given_back():
    """A worker has a fold for each partition: chunks that stayed would be most of its memory."""
    log = Log()
    log.event("s", event_id="a")
    log.event("s", event_id="b")
    result = log.fold()
    assert len(rows(result.events)) == 2
    # One is its name here or its field, the other is the argument of ``getrefcount``.
    assert [getrefcount(result), getrefcount(result.changed), getrefcount(result.pages)] == [2, 2, 2]
