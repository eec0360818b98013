"""Rows in the order of their own time."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.imports.order import Placed, in_order
from tracker.imports.rows import Mapped


@given(st.lists(st.integers(0, 50)), st.integers(1, 20))
def test_rows_come_out_in_order_and_none_is_lost(times: list[int], window: int) -> None:
    late: list[Placed] = []
    rows = [Placed(time, 0, line, 0, Mapped(time, b"k", b"v")) for line, time in enumerate(times)]
    out = list(in_order(rows, window, lambda row, _: late.append(row)))
    assert out == sorted(out)
    assert sorted([*out, *late]) == sorted(rows)
    if window >= len(times):
        assert not late
