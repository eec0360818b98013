"""What stands under a stale write goes into the changelog again, before the chunk's own rows."""

import pytest

from tracker.process.checkpoint import overwritten_rows
from tracker.sessions.layouts import WATERMARK_KEY, encode_state, encode_watermark
from tracker.sessions.outputs import FoldResult
from tracker.sessions.state import SessionState, Watermark
from tracker.sessions.working_table import Row
from tracker.table.store import SessionStore

STATE = SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3)


@pytest.fixture
def store(tmp_path):
    store = SessionStore(tmp_path / "partition-0")
    mark = encode_watermark(9, Watermark(stream_time_ms=1))
    store.write([(b"a", 5, encode_state(5, STATE)), (WATERMARK_KEY, 9, mark)], position=2)
    yield store
    store.close()


def test_nothing_is_written_again_where_nobody_else_wrote(store):
    assert list(overwritten_rows(store, FoldResult())) == []


def test_the_true_state_is_written_again_and_a_removal_as_a_removal(store):
    store.overwritten = {b"a", b"gone", WATERMARK_KEY}
    assert list(overwritten_rows(store, FoldResult())) == [(b"a", 5, encode_state(5, STATE)), (b"gone", 9, None)]


def test_what_the_chunk_changes_needs_no_second_write(store):
    store.overwritten = {b"a"}
    assert list(overwritten_rows(store, FoldResult(changed={b"a": Row(b"a", STATE, 11)}))) == []
