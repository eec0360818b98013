"""Reading a changelog into a store that somebody else may hold by the time an answer comes."""

from pathlib import Path

import pytest
from aiokafka import TopicPartition

from tracker.sessions.layouts import encode_state
from tracker.sessions.state import SessionState
from tracker.table.changelog import read_to_end
from tracker.table.store import SessionStore

STATE = encode_state(5, SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3))


class LateReader:
    """A reader whose answer about the log's end comes late: the store has been moved on past it meanwhile."""

    def __init__(self, store: SessionStore, end: int) -> None:
        self._store = store
        self._end = end

    def assign(self, tps: list[TopicPartition]) -> None:
        """Nothing to do: there is one partition."""

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Nothing to do: nothing is read."""

    def pause(self, tp: TopicPartition) -> None:
        """Nothing to do: nothing is read."""

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        self._store.write([(b"s", 5, STATE)], position=11)
        return dict.fromkeys(tps, self._end)


@pytest.fixture
def store(tmp_path: Path):
    store = SessionStore(tmp_path / "partition-0")
    store.write([], position=9)
    yield store
    store.close()


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_an_end_that_is_told_late_clears_no_store_that_has_moved_on(store: SessionStore, is_wanted: bool) -> None:
    reader = LateReader(store, end=9)
    async for _ in read_to_end(reader, "changelog", {0: store}, is_wanted=lambda: is_wanted):
        pass
    assert store.get(b"s") == STATE
    assert store.position == 11
