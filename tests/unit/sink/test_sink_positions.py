"""What a duplicate filter starts from."""

import pytest

from topics.headers import SourcePosition
from tracker.sink.positions import NOTHING_SEEN, Committed, SeenPositions, read_committed


@pytest.mark.parametrize(
    "metadata", ["", "7", "7:", ":7", "a:b", "-1:-1", "1:2:3", "1:2:", "1:2:" + "g" * 32, str(NOTHING_SEEN)]
)
def test_metadata_that_is_not_ours_drops_nothing(metadata: str):
    assert SeenPositions(metadata).is_new(SourcePosition(0, 0))


def test_what_is_committed_is_read_back_with_the_topics_id():
    committed = Committed(SourcePosition(17, 3), "0123456789abcdef" * 2)
    assert read_committed(committed.encode()) == committed
    assert read_committed("17:3") == Committed(SourcePosition(17, 3))


def test_outputs_of_one_source_record_are_told_apart_by_their_index():
    seen = SeenPositions("7:1")
    assert not seen.is_new(SourcePosition(7, 1))
    assert seen.is_new(SourcePosition(7, 2))
    assert not seen.is_new(SourcePosition(7, 2))
