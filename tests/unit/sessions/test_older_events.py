"""A session's events that lie in pages: which pages are read, how many are held, and when they are forgotten."""

from collections.abc import Sequence

import pytest

from tests.sessions_log import START_MS, Log, rows
from tracker.sessions.keys import page_key, page_number, row_key, row_of_page
from tracker.sessions.memory import EventMemory, from_layout_2, identity_of
from tracker.sessions.outputs import ChangedPage
from tracker.sessions.rules import DAY_MS, Rules
from tracker.sessions.state import Pages, SessionState
from tracker.sessions.working_table import At

PAGE_EVENTS = 2


class Sessions:
    """Sessions whose events lie in checkpointed pages of two; ``read`` tells which pages have been read since."""

    def __init__(self, max_older_events: int = 1_000, window_ms: int = DAY_MS) -> None:
        self.at = At(offset=100)
        self.states: dict[bytes, SessionState] = {}
        self.pages: dict[bytes, bytes] = {}
        self.changed: dict[bytes, ChangedPage] = {}
        self._read: list[bytes] = []
        self.memory = EventMemory(
            self.at,
            self._read_pages,
            window_ms=window_ms,
            page_events=PAGE_EVENTS,
            max_older_events=max_older_events,
        )
        self.memory.begin_chunk(self.changed)

    def _read_pages(self, keys: Sequence[bytes]) -> list[bytes | None]:
        assert keys, "nothing is asked for"
        self._read += keys
        return [self.pages.get(key) for key in keys]

    def take(self, row: bytes, *event_ids: str, now_ms: int = START_MS) -> None:
        """Let a session remember events."""
        new = SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1)
        state = self.states.setdefault(row, new)
        for event_id in event_ids:
            self.memory.remember(row, state, identity_of(event_id, b"{}"), now_ms)

    def checkpoint(self) -> None:
        """Write the chunk's pages down and begin the next chunk."""
        for key, page in self.changed.items():
            if page.content is None:
                self.pages.pop(key, None)
            else:
                self.pages[key] = page.content
        self.changed.clear()

    def judge(self, row: bytes, event_id: str, now_ms: int = START_MS) -> str:
        return self.memory.judge(row, self.states[row], identity_of(event_id, b"{}"), now_ms)

    def read_for(self, row: bytes) -> list[bytes]:
        """Return the pages that are read when an event of a session is judged."""
        self._read.clear()
        self.judge(row, "never seen")
        return list(self._read)


def with_pages(*names: bytes, pages: int = 1, max_older_events: int = 1_000) -> Sessions:
    sessions = Sessions(max_older_events)
    for name in names:
        sessions.take(name, *(f"{name.decode()}{number}" for number in range(pages * PAGE_EVENTS)))
    sessions.checkpoint()
    return sessions


def test_the_key_of_a_page_says_its_row_and_number():
    for row in (b"s", row_key(b"s", "w1"), b"k" * 300):
        for number in (0, 1, 258, 2**40 + 3):
            key = page_key(row, number)
            assert (row_of_page(key), page_number(key)) == (row, number)


def test_the_pages_of_a_session_are_read_together_and_once():
    sessions = with_pages(b"a", pages=3)
    assert sessions.read_for(b"a") == [page_key(b"a", number) for number in (100, 101, 102)]
    assert sessions.read_for(b"a") == []
    assert [sessions.judge(b"a", f"a{number}") for number in range(7)] == ["duplicate"] * 6 + ["new"]


def test_an_event_in_a_page_is_found_though_its_id_has_come_again_with_another_content():
    sessions = with_pages(b"a")
    sessions.memory.remember(b"a", sessions.states[b"a"], identity_of("a0", b"another content"), START_MS)
    sessions.memory.forget([b"a"])
    assert [sessions.judge(b"a", each) for each in ("a0", "a1")] == ["duplicate", "duplicate"]


def test_only_the_pages_that_the_state_names_are_read():
    sessions = with_pages(b"a", pages=4)
    sessions.states[b"a"].pages = Pages(began_ms=START_MS, first=101, current=101, end=103)
    assert sessions.read_for(b"a") == [page_key(b"a", number) for number in (101, 102)]


def test_pages_of_the_chunk_at_hand_are_not_read():
    sessions = Sessions()
    sessions.take(b"a", "1", "2", "3")
    assert sessions.read_for(b"a") == []
    assert [sessions.judge(b"a", each) for each in "1234"] == ["duplicate"] * 3 + ["new"]


def test_the_pages_of_the_sessions_that_asked_last_are_held_up_to_a_number_of_events():
    sessions = with_pages(b"a", b"b", b"c", pages=2, max_older_events=8)
    held = [bool(sessions.read_for(name)) for name in (b"a", b"b", b"a", b"b", b"a", b"c", b"a", b"c")]
    assert held == [True, True, False, False, False, True, False, False]
    assert sessions.read_for(b"b")
    assert [bool(sessions.read_for(name)) for name in (b"c", b"a")] == [False, True]


def test_a_session_with_more_events_than_are_held_in_all_is_still_read_only_once():
    sessions = with_pages(b"a", b"b", pages=3, max_older_events=2)
    assert [bool(sessions.read_for(name)) for name in (b"a", b"a", b"b", b"b", b"a")] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_page_that_fills_up_while_older_ones_are_held_is_known_without_reading_and_takes_room():
    sessions = with_pages(b"a", b"b", b"c", max_older_events=6)
    assert sessions.read_for(b"a")
    assert sessions.read_for(b"b")
    sessions.take(b"a", "later", "last")
    sessions.checkpoint()
    assert [sessions.judge(b"a", each) for each in ("a0", "later", "last")] == ["duplicate"] * 3
    assert sessions.read_for(b"a") == []
    assert sessions.read_for(b"c")  # there is room for six events: b goes
    assert [bool(sessions.read_for(name)) for name in (b"a", b"b")] == [False, True]


@pytest.mark.parametrize("told", [b"a", page_key(b"a", 100)])
def test_pages_that_are_forgotten_are_read_again_and_make_room(told: bytes):
    sessions = with_pages(b"a", b"b", b"c", max_older_events=4)
    assert sessions.read_for(b"a")
    assert sessions.read_for(b"b")
    sessions.memory.forget([b"never heard of", told])
    assert [bool(sessions.read_for(name)) for name in (b"c", b"b", b"a")] == [True, False, True]


def test_what_a_session_is_made_to_forget_is_removed_at_the_record_at_hand_and_not_known_any_more():
    """Events of 0.1.0 have no time: they are duplicates for as long as they are remembered."""
    sessions = Sessions()
    sessions.take(b"a")
    state, old = sessions.states[b"a"], identity_of("old", b"{}")
    state.recent = from_layout_2(old[:8])
    sessions.take(b"a", "new")
    sessions.checkpoint()
    assert sessions.judge(b"a", "old", START_MS + 9 * DAY_MS) == "duplicate"
    sessions.at.offset = 107
    sessions.memory.drop(b"a", state)
    assert sessions.changed == {page_key(b"a", 100): ChangedPage(107, None)}
    assert (state.recent, state.pages, state.remembered_ms) == (b"", None, 0)
    sessions.checkpoint()
    sessions.take(b"a", "1", "2")
    assert sessions.judge(b"a", "old", START_MS + 9 * DAY_MS) == "new"


@pytest.mark.parametrize("told", ["rows", "pages"])
def test_events_that_another_worker_has_taken_meanwhile_are_duplicates_once_it_is_known_that_it_wrote(told: str):
    log, other = Log(Rules(page_events=PAGE_EVENTS)), Log(Rules(page_events=PAGE_EVENTS))
    other.table, other.pages = log.table, log.pages
    for number in range(8):
        log.event("s", event_id=f"e{number}")
    log.event("s", event_id="e0")
    other.records = log.records
    log.fold(upto=4)
    log.event("s", event_id="e1")
    log.go_back_to(9)
    assert log.fold().counts.duplicates == 1  # the pages of the first four events have been read
    other.go_back_to(4)
    written = other.fold(upto=8)
    log.partition.forget(written.pages if told == "pages" else written.changed)
    for number in range(8):
        log.event("s", event_id=f"e{number}")
    result = log.fold()
    assert (rows(result.events), result.counts.duplicates) == ([], 8)
