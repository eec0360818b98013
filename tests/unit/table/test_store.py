"""The local store holds what the changelog holds, or it is rebuilt."""

import msgspec
import pytest

from tracker.sessions.state import WATERMARK_KEY, SessionState, Watermark, encode_state, encode_watermark
from tracker.table import store as store_module
from tracker.table.store import Position, SessionStore


def state(sequence: int) -> SessionState:
    return SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3, sequence=sequence)


def rows(offset: int):
    return [
        (b"s", offset, encode_state(offset, state(offset))),
        (WATERMARK_KEY, offset, encode_watermark(offset, Watermark(stream_time_ms=offset * 10))),
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "partition-0"


def test_a_batch_and_its_position_are_there_again_after_a_restart(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    again = SessionStore(path)
    assert (again.position, again.watermark()) == (7, (5, Watermark(stream_time_ms=50)))
    assert dict(again.states()) == {b"s": encode_state(5, state(5))}
    again.close()


def test_a_stale_row_does_not_win_but_the_position_moves(path):
    store = SessionStore(path)
    store.write(rows(5), position=2)
    assert store.merge(rows(4), position=4) == []
    assert (store.position, store.watermark()[0]) == (4, 5)
    store.close()


def test_a_tombstone_removes_what_is_older(path):
    store = SessionStore(path)
    store.write(rows(5), position=2)
    store.merge([(b"s", 4, None)], position=3)
    assert store.get(b"s") is not None
    store.merge([(b"s", 6, None)], position=4)
    assert store.get(b"s") is None
    store.close()


def test_state_of_another_layout_is_rebuilt_not_trusted(path, monkeypatch):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    monkeypatch.setattr(store_module, "LAYOUT", Position(0).layout + 1)
    again = SessionStore(path)
    assert (again.position, again.watermark()[0], dict(again.states())) == (0, -1, {})
    again.close()


def test_damaged_files_are_rebuilt_not_trusted(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    for file in path.glob("MANIFEST-*"):
        file.write_bytes(b"damaged")
    again = SessionStore(path)
    assert (again.position, again.watermark()[0]) == (0, -1)
    again.close()


def test_two_processes_can_not_share_a_store(path):
    store = SessionStore(path)
    with pytest.raises(Exception, match=r"(?i)lock"):
        SessionStore(path)
    store.close()


def test_a_position_is_small(path):
    assert len(msgspec.msgpack.encode(Position(1))) < 8
