"""Rows beside the home session of a key: those of other workspaces, and pages of older event ids."""

from pathlib import Path

import pytest

from tests.simulation.disk import Disk, MemoryDatabase
from tracker.process.lease import remove_orphaned_pages
from tracker.sessions.keys import page_key, row_key
from tracker.sessions.layouts import (
    LAYOUT,
    OFFSET_BYTES,
    READABLE,
    WATERMARK_KEY,
    UnknownLayoutError,
    encode_page,
    encode_state,
    encode_watermark,
)
from tracker.sessions.rules import Rules
from tracker.sessions.state import FORGOTTEN, Pages, SessionState, Watermark
from tracker.table.sessions import SessionName, SessionTable, find_session
from tracker.table.store import SessionStore, row_of


def state(workspace: str = "", **fields) -> SessionState:
    context = {"workspace_id": workspace} if workspace else {}
    return SessionState(
        session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3, context=context, **fields
    )


@pytest.fixture
def store() -> SessionStore:
    return SessionStore(Path("p"), lambda path: MemoryDatabase(path, Disk()), now_ms=lambda: 0)


def write(store: SessionStore, **states: SessionState) -> None:
    """``k`` is the home row of key k, ``k_w2`` the row of workspace w2 under it."""
    rows = []
    for name, one in states.items():
        key, _, workspace = name.partition("_")
        row = row_key(key.encode(), workspace) if workspace else key.encode()
        rows.append((row, 7, encode_state(7, one)))
    rows.append((WATERMARK_KEY, 7, encode_watermark(7, Watermark(stream_time_ms=0))))
    store.write(rows, 1)


def found(store: SessionStore, key: str, workspace: str = "") -> str | None:
    session = find_session(store, SessionName(key.encode(), workspace))
    return None if session is None else f"{session.state.workspace_id or 'none'} at {session.offset}"


def test_without_a_workspace_the_session_of_the_keys_home_is_meant(store):
    write(store, k=state("w1"), k_w2=state("w2"))
    assert found(store, "k") == "w1 at 7"
    write(store, n=state())
    assert found(store, "n") == "none at 7"


def test_each_workspace_has_its_own_and_others_have_none(store):
    write(store, k=state("w1"), k_w2=state("w2"))
    assert [found(store, "k", workspace) for workspace in ("w1", "w2", "w3")] == ["w1 at 7", "w2 at 7", None]


def test_a_home_without_a_workspace_is_nobodys_by_name(store):
    write(store, k=state())
    assert found(store, "k", "w1") is None


def test_a_key_that_is_not_known_or_forgotten_has_none(store):
    write(store, k=state("w1", close_reason=FORGOTTEN), k_w2=state("w2"))
    assert (found(store, "nobody"), found(store, "k")) == (None, None)
    assert found(store, "k", "w1") is None
    assert found(store, "k", "w2") == "w2 at 7"


def test_a_workspaces_session_is_found_though_the_row_of_the_keys_home_is_gone(store):
    write(store, k_w2=state("w2"))
    assert [found(store, "k", workspace) for workspace in ("w2", "w1", "")] == ["w2 at 7", None, None]


def test_a_closed_session_can_still_be_asked_for(store):
    write(store, k=state("w1", close_reason="timeout"))
    assert found(store, "k", "w1") == "w1 at 7"


# Pages


def write_pages(store: SessionStore, row: bytes, *numbers: int) -> None:
    store.write([(page_key(row, number), 7, encode_page(7, b"ids-%d" % number)) for number in numbers], 1)


def test_pages_are_read_in_the_order_in_which_they_are_asked_for(store):
    write_pages(store, b"k", 1, 2)
    pages = SessionTable(store, 10).read_pages([page_key(b"k", number) for number in (2, 9, 1)])
    assert pages == [b"ids-2", None, b"ids-1"]


def test_a_page_has_no_layout_that_could_be_unknown(store):
    unknown = bytes([max(READABLE) + 1])
    assert store.merge([(page_key(b"k", 1), 7, encode_page(7, unknown))], 1) == [page_key(b"k", 1)]
    assert SessionTable(store, 10).read_pages([page_key(b"k", 1)]) == [unknown]
    with pytest.raises(UnknownLayoutError):
        store.merge([(b"k", 7, encode_page(7, unknown))], 2)
    assert (store.get(b"k"), store.position) == (None, 1)


def test_only_pages_are_listed_as_pages(store):
    write(store, k=state("w1"))
    mark = encode_watermark(7, Watermark(stream_time_ms=1))
    store.write([(WATERMARK_KEY, 7, mark)], 1)
    assert list(store.page_keys()) == []
    write_pages(store, b"k", 1)
    write_pages(store, row_key(b"k", "w2"), 5)
    assert sorted(store.page_keys()) == sorted([page_key(b"k", 1), page_key(row_key(b"k", "w2"), 5)])
    assert [key for key, _ in store.states()] == [b"k"]


def test_the_listing_does_not_read_all_sessions(store):
    write(store, a=state(), b=state(), c=state())
    write_pages(store, b"a", 1)
    items, read = store._db.items, []

    def counted():
        for row in items():
            read.append(row[0])
            yield row

    store._db.items = counted
    list(store.page_keys())
    assert [key for key in read if not key.startswith(b"\0")] == [b"a"]


def test_pages_that_no_session_refers_to_are_removed_and_the_changelog_is_to_be_told(store):
    write_pages(store, b"k", 1, 2, 3, 4)
    write_pages(store, b"nobody", 1)
    write_pages(store, b"none", 1)
    pages = Pages(began_ms=0, first=2, current=3, end=4)
    write(store, k=state(pages=pages), none=state())
    position = store.position
    remove_orphaned_pages(store)
    orphans = {page_key(b"k", 1), page_key(b"k", 4), page_key(b"nobody", 1), page_key(b"none", 1)}
    assert set(store.page_keys()) == {page_key(b"k", 2), page_key(b"k", 3)}
    assert store.overwritten == orphans
    assert store.position == position
    store.reopen()
    assert store.overwritten == orphans


def test_a_page_whose_state_may_still_come_is_no_orphan(store):
    write(store)
    watermark, _ = store.watermark()
    page = page_key(b"k", 1)
    store.write([(page, watermark + 1, encode_page(watermark + 1, b"entries"))], store.position)
    remove_orphaned_pages(store)
    assert list(store.page_keys()) == [page]


def test_where_there_are_no_orphans_nothing_is_written(store):
    write_pages(store, b"k", 2)
    write(store, k=state(pages=Pages(began_ms=0, first=2, current=2, end=3)))
    store._write = None
    remove_orphaned_pages(store)
    assert len(list(store.page_keys())) == 1


# An empty store, and odd values


def test_a_store_that_was_cleared_has_nothing_to_mend_and_is_written_in_the_oldest_layout(store):
    write(store, k=state())
    store.overwritten = {b"k"}
    store.clear()
    assert (store.overwritten, store.position, store.get(b"k")) == (set(), 0, None)
    assert store.watermark() == (-1, Watermark(stream_time_ms=0, layout=min(READABLE)))
    assert min(READABLE) < LAYOUT == Rules().layout


@pytest.mark.parametrize(
    ("value", "offset"),
    [(None, 5), (b"x", 5), (b"x" * (OFFSET_BYTES - 1), 5), ((9).to_bytes(OFFSET_BYTES, "big"), 9)],
)
def test_a_value_that_is_too_short_for_an_offset_has_that_of_the_headers(value, offset):
    assert row_of(b"k", value, 5) == (b"k", offset, value)
