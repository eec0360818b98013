"""The decoded states of a lease: bounded, and never older than what was checkpointed."""

from pathlib import Path

import pytest

from tests.simulation.disk import Disk, MemoryDatabase
from tracker.sessions.layouts import encode_state
from tracker.sessions.state import SessionState
from tracker.sessions.working_table import Row
from tracker.table.sessions import SessionTable
from tracker.table.store import SessionStore


def state(sequence: int) -> SessionState:
    return SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3, sequence=sequence)


class CountingDatabase(MemoryDatabase):
    reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return super().get(key)


@pytest.fixture
def store() -> SessionStore:
    store = SessionStore(Path("p"), lambda path: CountingDatabase(path, Disk()), now_ms=lambda: 0)
    store.write([(b"a", 5, encode_state(5, state(2)))], 1)
    store._db.reads = 0
    return store


def test_a_state_is_read_once_and_then_from_memory(store):
    table = SessionTable(store, 10)
    for _ in range(2):
        found = table.lookup(b"a")
        assert (found.offset, found.state) == (5, state(2))
    assert store._db.reads == 1


def test_only_what_is_in_use_is_cached(store):
    table = SessionTable(store, 10)
    assert table.cached(b"a") is None
    row = table.lookup(b"a")
    assert table.cached(b"a") is row
    assert table.cached(b"b") is None


def test_a_key_that_is_not_known_is_none_and_asked_for_again(store):
    table = SessionTable(store, 10)
    assert table.lookup(b"b") is None
    store.write([(b"b", 6, encode_state(6, state(1)))], 2)
    assert table.lookup(b"b").state == state(1)


def test_what_a_chunk_has_changed_replaces_what_was_known(store):
    table = SessionTable(store, 10)
    table.lookup(b"a")
    table.keep({b"a": Row(b"a", state(3), 9), b"b": Row(b"b", state(1), 9)})
    assert [(found.offset, found.state.sequence) for found in map(table.lookup, (b"a", b"b"))] == [(9, 3), (9, 1)]
    assert store._db.reads == 1


def test_what_is_removed_is_not_known_any_more(store):
    table = SessionTable(store, 10)
    table.lookup(b"a")
    store.write([(b"a", 9, None)], 2)
    table.keep({b"a": Row(b"a", None, 9), b"never": Row(b"never", None, 9)})
    assert table.lookup(b"a") is None


def test_the_oldest_entries_go_beyond_the_limit_and_are_read_again(store):
    table = SessionTable(store, 2)
    table.lookup(b"a")
    table.keep({b"b": Row(b"b", state(1), 9), b"c": Row(b"c", state(1), 9)})
    assert list(table._cache) == [b"b", b"c"]
    assert table.lookup(b"a").state == state(2)
    assert store._db.reads == 2


def test_at_the_limit_nothing_goes(store):
    table = SessionTable(store, 2)
    table.keep({b"b": Row(b"b", state(1), 9), b"c": Row(b"c", state(1), 9)})
    assert list(table._cache) == [b"b", b"c"]


def test_what_was_merged_is_read_again(store):
    table = SessionTable(store, 10)
    table.lookup(b"a")
    store.write([(b"a", 9, encode_state(9, state(7)))], 2)
    assert table.lookup(b"a").state == state(2)
    table.forget([b"a", b"never"])
    assert table.lookup(b"a").state == state(7)
