"""How far live's outputs are a replay's: by key, value and source position, however the position is written."""

import pytest

from topics.headers import SOURCE_TIME_MS, write_old_position, write_position
from tracker.kafka.record_decoding import Record
from tracker.replay.live_outputs import equal_at_start
from tracker.sessions.outputs import Output

OUTPUTS = [Output(b"s-1", b"row %d" % nth, write_position(2, 7, nth)) for nth in range(4)]


def live(output: Output, offset: int = 0) -> Record:
    return Record("sequenced", 2, offset, 0, 1, output.key, output.value, tuple(output.headers))


LIVE = [live(output, offset) for offset, output in enumerate(OUTPUTS)]


def test_all_are_equal_up_to_where_either_side_ends() -> None:
    assert equal_at_start(OUTPUTS, LIVE) == 4
    assert equal_at_start(OUTPUTS, LIVE[:3]) == 3
    assert equal_at_start(OUTPUTS[:2], LIVE) == 2
    assert equal_at_start([], LIVE) == 0


@pytest.mark.parametrize(
    "other",
    [
        Output(b"s-2", b"row 2", write_position(2, 7, 2)),
        Output(None, b"row 2", write_position(2, 7, 2)),
        Output(b"s-1", b"row 3", write_position(2, 7, 2)),
        Output(b"s-1", None, write_position(2, 7, 2)),
        Output(b"s-1", b"row 2", write_position(2, 7, 3)),
        Output(b"s-1", b"row 2", write_position(2, 8, 2)),
        Output(b"s-1", b"row 2", []),
    ],
)
def test_the_first_that_differs_ends_it_whatever_follows(other: Output) -> None:
    assert equal_at_start(OUTPUTS, [*LIVE[:2], live(other), LIVE[3]]) == 2
    assert equal_at_start([*OUTPUTS[:2], other, OUTPUTS[3]], LIVE) == 2


def test_further_headers_and_the_old_way_to_write_a_position_make_no_difference() -> None:
    first = OUTPUTS[0]
    assert equal_at_start(OUTPUTS, [live(first._replace(headers=[*first.headers, (SOURCE_TIME_MS, b"1")]))]) == 1
    old = first._replace(headers=write_old_position(2, 7, 0))
    assert equal_at_start([old], [live(old)]) == 1
    assert equal_at_start(OUTPUTS, [live(old)]) == 1


def test_positions_in_the_old_way_are_told_apart_though_they_begin_with_the_same_header() -> None:
    here, there = (Output(b"s-1", b"row", write_old_position(2, offset, 0)) for offset in (7, 8))
    assert here.headers[0] == there.headers[0]
    assert equal_at_start([here], [live(there)]) == 0
