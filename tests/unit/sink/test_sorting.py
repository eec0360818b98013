"""A chunk's records are rows, repeats, markers, or none of ours."""

import pytest

from tests.unit.sink.sink_records import output, rows
from topics.headers import FLUSH, SourcePosition
from tracker.sink.positions import SeenPositions
from tracker.sink.sorting import sort_records


def sorted_from(*records, metadata: str = ""):
    seen = SeenPositions(metadata)
    return sort_records(records, seen), seen


def test_rows_keep_their_order_and_are_remembered():
    found, seen = sorted_from(*rows(3))
    assert [record.offset for record in found.rows] == [0, 1, 2]
    assert (found.odd, found.duplicates, found.has_flush) == ([], 0, False)
    assert seen.last == SourcePosition(2, 0)


def test_what_was_seen_before_is_counted_and_dropped():
    found, seen = sorted_from(*rows(3), metadata="1:0")
    assert [record.offset for record in found.rows] == [2]
    assert found.duplicates == 2
    assert seen.last == SourcePosition(2, 0)


def test_a_row_that_was_sent_again_by_hand_is_taken_though_its_position_was_seen():
    found, seen = sorted_from(output(0, SourcePosition(1, 0), b"{}", is_retry=True), metadata="5:0")
    assert (len(found.rows), found.duplicates) == (1, 0)
    assert seen.last == SourcePosition(5, 0)


def test_a_row_that_was_sent_again_and_not_seen_yet_is_remembered():
    found, seen = sorted_from(output(0, SourcePosition(7, 0), b"{}", is_retry=True), metadata="5:0")
    assert len(found.rows) == 1
    assert seen.last == SourcePosition(7, 0)


def test_a_marker_is_no_row_and_asks_for_what_is_held():
    found, _ = sorted_from(output(0, SourcePosition(0, 0), None, is_flush=True))
    assert (found.rows, found.odd, found.has_flush) == ([], [], True)


def test_a_row_may_be_a_marker_too_and_a_marker_stays_one_whatever_follows():
    found, _ = sorted_from(output(0, SourcePosition(0, 0), b"{}", is_flush=True), *rows(2, first_offset=1))
    assert (len(found.rows), found.has_flush) == (3, True)


def test_a_marker_that_was_seen_before_asks_for_nothing():
    found, _ = sorted_from(output(0, SourcePosition(0, 0), None, is_flush=True), metadata="0:0")
    assert (found.has_flush, found.duplicates) == (False, 1)


def test_another_fourth_header_is_no_marker():
    record = output(0, SourcePosition(0, 0), b"{}")
    record = record.__class__(**{**record.__dict__, "headers": (*record.headers, ("x", b"1"))})
    assert not sorted_from(record)[0].has_flush
    first = record.__class__(**{**record.__dict__, "headers": (*record.headers, (FLUSH, b"1"))})
    assert sorted_from(first)[0].has_flush


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (output(0, None, b"{}"), "no_position"),
        (output(0, SourcePosition(0, 0), None), "empty_value"),
        (output(0, SourcePosition(0, 0), b""), "empty_value"),
        (output(0, SourcePosition(0, 0), b'{"a":\n1}'), "invalid"),
    ],
)
def test_what_is_none_of_ours_is_odd_with_its_reason_and_the_rest_goes_on(record, reason):
    found, _ = sorted_from(record, *rows(1, first_offset=1))
    assert [(odd.offset, why) for odd, why, _ in found.odd] == [(0, reason)]
    assert found.odd[0][2]
    assert [row.offset for row in found.rows] == [1]
