"""When a batch goes out: its window begins with its first row, and says why it was closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sink.sink_records import lease, output, rows
from topics.headers import SourcePosition
from tracker.sink.batches import Batcher, Covered, Limits

LIMITS = Limits(max_rows=4, max_bytes=1_000, window_ms=50)
NOTHING = SourcePosition(-1, -1)


def add(batcher: Batcher, of, records, now_ms: int = 0, seen_before: SourcePosition = NOTHING):
    covered = Covered(of, records[-1].offset + 1, SourcePosition(records[-1].offset, 0))
    return list(batcher.add(records, seen_before, covered, now_ms))


def test_an_empty_batcher_is_due_never():
    assert Batcher(LIMITS).notify_at_ms is None


def test_a_trickle_does_not_put_the_window_off():
    batcher, of = Batcher(LIMITS), lease()
    for n, now_ms in enumerate((100, 130, 149)):
        assert add(batcher, of, rows(1, first_offset=n), now_ms) == []
        assert batcher.notify_at_ms == 150


def test_the_next_batch_has_a_window_of_its_own():
    batcher, of = Batcher(LIMITS), lease()
    add(batcher, of, rows(1), 100)
    assert len(batcher.close("window").rows) == 1
    assert batcher.notify_at_ms is None
    add(batcher, of, rows(1, first_offset=1), 300)
    assert batcher.notify_at_ms == 350


def test_a_chunk_without_rows_opens_a_batch_that_covers_it():
    batcher, of = Batcher(LIMITS), lease()
    covered = Covered(of, 9, SourcePosition(8, 0))
    assert list(batcher.add([], NOTHING, covered, 100)) == []
    assert batcher.notify_at_ms == 150
    assert batcher.close("window").covers == {of: covered}


@pytest.mark.parametrize(
    ("limits", "closed_by"),
    [(Limits(2, 1_000, 50), "rows"), (Limits(100, 2 * len(rows(1)[0].value) + 2, 50), "bytes")],
)
def test_a_full_batch_is_closed_at_once_and_says_why(limits, closed_by):
    (batch,) = add(Batcher(limits), lease(), rows(2))
    assert (len(batch.rows), batch.closed_by) == (2, closed_by)


def test_a_batch_that_was_closed_says_by_what():
    assert [Batcher(LIMITS).close(why).closed_by for why in ("window", "flush")] == ["window", "flush"]


def test_a_row_that_would_not_fit_closes_the_batch_before_it():
    size = len(rows(1)[0].value) + 1
    batcher, of = Batcher(Limits(100, 2 * size + 1, 50)), lease()
    assert add(batcher, of, rows(1)) == []
    big = [output(1, SourcePosition(1, 0), b"x" * (size + 1))]
    (batch,) = add(batcher, of, big, seen_before=SourcePosition(0, 0))
    assert ([row.offset for row in batch.rows], batch.closed_by) == ([0], "bytes")
    assert batcher.close("flush").rows == big


def test_a_part_of_a_chunk_covers_up_to_its_own_last_row_and_not_further():
    batcher, of = Batcher(Limits(2, 1_000, 50)), lease()
    first, second = add(batcher, of, rows(4))
    assert [batch.covers[of].next_offset for batch in (first, second)] == [2, 4]
    assert [batch.covers[of].last_seen for batch in (first, second)] == [SourcePosition(1, 0), SourcePosition(3, 0)]


def test_a_row_that_came_back_with_an_old_position_does_not_take_the_filter_back():
    batcher, of = Batcher(Limits(2, 1_000, 50)), lease()
    records = [
        output(0, SourcePosition(7, 0), b"{}"),
        output(1, SourcePosition(3, 0), b"{}", is_retry=True),
        output(2, SourcePosition(8, 0), b"{}"),
    ]
    (first,) = add(batcher, of, records, seen_before=SourcePosition(6, 0))
    assert first.covers[of].last_seen == SourcePosition(7, 0)


def test_what_was_seen_before_the_chunk_stays_seen():
    batcher, of = Batcher(Limits(1, 1_000, 50)), lease()
    records = [output(n, SourcePosition(n, 0), b"{}", is_retry=True) for n in range(2)]
    first, _ = add(batcher, of, records, seen_before=SourcePosition(50, 0))
    assert first.covers[of].last_seen == SourcePosition(50, 0)


def test_what_an_earlier_part_of_the_chunk_has_seen_stays_seen():
    batcher, of = Batcher(Limits(1, 1_000, 50)), lease()
    records = [
        output(0, SourcePosition(7, 0), b"{}"),
        output(1, SourcePosition(3, 0), b"{}", is_retry=True),
        output(2, SourcePosition(8, 0), b"{}"),
    ]
    batches = add(batcher, of, records, seen_before=SourcePosition(6, 0))
    assert [batch.covers[of].last_seen for batch in batches[:2]] == [SourcePosition(7, 0)] * 2


def test_two_partitions_share_a_batch_and_each_is_covered():
    batcher, one, other = Batcher(LIMITS), lease(0), lease(1)
    add(batcher, one, rows(1))
    add(batcher, other, rows(1, partition=1))
    batch = batcher.close("window")
    assert [row.partition for row in batch.rows] == [0, 1]
    assert set(batch.covers) == {one, other}


def test_limits_that_change_hold_for_the_open_batch():
    batcher, of = Batcher(LIMITS), lease()
    add(batcher, of, rows(2), 100)
    batcher.limits = Limits(3, 1_000, 20)
    assert batcher.notify_at_ms == 120
    (batch,) = add(batcher, of, rows(1, first_offset=2), 110)
    assert len(batch.rows) == 3


def test_a_chunk_without_rows_is_covered_by_a_batch_that_lower_limits_have_made_too_large():
    batcher, of = Batcher(LIMITS), lease()
    assert add(batcher, of, rows(2)) == []
    batcher.limits = Limits(max_rows=4, max_bytes=1, window_ms=50)
    covered = Covered(of, 9, SourcePosition(8, 0))
    batches = [*batcher.add([], NOTHING, covered, 0), batcher.close("window")]
    assert [len(batch.rows) for batch in batches] == [2, 0]
    assert any(batch.covers == {of: covered} for batch in batches)


@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), max_size=8), st.integers(1, 5), st.integers(1, 25)
)
def test_each_batch_takes_rows_in_order_until_the_next_one_does_not_fit(chunks, max_rows, max_bytes):
    batcher, of = Batcher(Limits(max_rows, max_bytes, 50)), lease()
    found, expected, offset = [], [[]], 0
    for sizes in chunks:
        records = [output(offset + n, None, b"x" * (size - 1)) for n, size in enumerate(sizes)]
        offset += len(records)
        found += [batch.rows for batch in add(batcher, of, records)]
        for record, size in zip(records, sizes, strict=True):
            held = sum(len(row.value) + 1 for row in expected[-1])
            if expected[-1] and (len(expected[-1]) == max_rows or held + size > max_bytes):
                expected.append([])
            expected[-1].append(record)
    found.append(batcher.close("window").rows)
    assert [rows_ for rows_ in found if rows_] == [rows_ for rows_ in expected if rows_]


def test_a_batch_that_begins_within_a_chunk_has_a_window_from_then_on():
    batcher = Batcher(LIMITS)
    full, *_ = add(batcher, lease(), rows(6), 100)
    assert len(full.rows) == 4
    assert batcher.notify_at_ms == 150
