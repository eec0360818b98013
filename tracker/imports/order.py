"""Putting rows in the order of their own time, within bounds. Pure; memory is bounded by the window."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from tracker.imports.rows import Mapped

#: Rows that may wait for an earlier one to turn up; about 1 KB each.
DEFAULT_WINDOW_ROWS: Final = 500_000


class Placed(NamedTuple):
    """A mapped row and its place; rows of one time keep the order of the files."""

    timestamp_ms: int
    file: int
    line: int
    #: Its place among the records of one row.
    nth: int
    record: Mapped


def in_order(rows: Iterable[Placed], window_rows: int, too_late: Callable[[Placed, int], None]) -> Iterator[Placed]:
    """Yield rows sorted by time, looking ``window_rows`` ahead.

    A row that comes so late that a later one has gone out already is handed to ``too_late`` with that one's time.
    """
    heap: list[Placed] = []
    newest_ms = -1
    for row in rows:
        if row.timestamp_ms < newest_ms:
            too_late(row, newest_ms)
            continue
        heapq.heappush(heap, row)
        if len(heap) > window_rows:
            out = heapq.heappop(heap)
            newest_ms = out.timestamp_ms
            yield out
    while heap:
        yield heapq.heappop(heap)


def merged(files: Iterable[Iterator[Placed]]) -> Iterator[Placed]:
    """Merge files that are each in order into one stream in order."""
    return heapq.merge(*files)
