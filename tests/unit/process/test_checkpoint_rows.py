"""What a chunk writes to the changelog, in which order, and where its batches must lie."""

import pytest

from tracker.process.checkpoint import contiguous_end
from tracker.sessions.keys import page_key
from tracker.sessions.layouts import (
    READABLE,
    USAGE_KEY,
    WATERMARK_KEY,
    decode_page,
    decode_watermark,
    encode_usage,
    layout_of,
    offset_of,
)
from tracker.sessions.outputs import ChangedPage, FoldResult
from tracker.sessions.state import SessionState, UsageMark, Watermark
from tracker.sessions.working_table import Row
from tracker.table.changes import changed_rows


def test_states_come_first_then_removals_and_the_watermark_last():
    state = SessionState(session_id="b", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1)
    result = FoldResult(changed={b"gone": Row(b"gone", None, 8), b"b": Row(b"b", state, 9)})
    rows = list(changed_rows(result, watermark=9, mark=Watermark(stream_time_ms=77, forwarded={2: 5})))
    assert [(key, offset) for key, offset, _ in rows] == [(b"b", 9), (b"gone", 8), (WATERMARK_KEY, 9)]
    assert rows[1][2] is None
    watermark = rows[2][2]
    assert offset_of(watermark) == 9
    assert decode_watermark(watermark) == Watermark(stream_time_ms=77, forwarded={2: 5})


def test_pages_come_before_the_states_that_refer_to_them_and_removed_ones_after():
    state = SessionState(session_id="b", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1)
    pages = {page_key(b"b", 1): ChangedPage(7, None), page_key(b"b", 2): ChangedPage(9, b"ids")}
    result = FoldResult(changed={b"b": Row(b"b", state, 9)}, pages=pages)
    rows = list(changed_rows(result, watermark=9, mark=Watermark(stream_time_ms=77)))
    assert [(key, offset) for key, offset, _ in rows] == [
        (page_key(b"b", 2), 9),
        (b"b", 9),
        (page_key(b"b", 1), 7),
        (WATERMARK_KEY, 9),
    ]
    assert (decode_page(rows[0][2]), offset_of(rows[0][2]), rows[2][2]) == (b"ids", 9, None)


@pytest.mark.parametrize("offset", [0, 9])
def test_usage_comes_first_also_that_of_the_logs_first_record(offset: int):
    mark = UsageMark(minute_ms=60_000)
    result = FoldResult(usage_offset=offset, usage_mark=mark)
    first, *others = changed_rows(result, watermark=offset, mark=Watermark(stream_time_ms=77))
    assert first == (USAGE_KEY, offset, encode_usage(offset, mark))
    assert [key for key, _, _ in others] == [WATERMARK_KEY]


@pytest.mark.parametrize("layout", sorted(READABLE))
def test_states_are_written_in_the_layout_of_the_watermark(layout: int):
    state = SessionState(session_id="b", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1)
    result = FoldResult(changed={b"b": Row(b"b", state, 9)})
    rows = list(changed_rows(result, watermark=9, mark=Watermark(stream_time_ms=77, layout=layout)))
    assert [layout_of(raw) for _, _, raw in rows] == [layout, layout]


def test_a_chunk_that_changed_nothing_still_moves_the_watermark():
    assert [key for key, _, _ in changed_rows(FoldResult(), 3, Watermark(stream_time_ms=0))] == [WATERMARK_KEY]


def test_batches_that_follow_each_other_move_the_position():
    assert contiguous_end(10, [(10, 3), (13, 2)]) == 15


def test_a_hole_before_or_between_our_batches_is_seen():
    assert contiguous_end(10, [(11, 3)]) is None
    assert contiguous_end(10, [(10, 3), (14, 2)]) is None
