"""What a folded chunk changes in the table, as rows for the changelog and the store."""

from collections.abc import Iterator

from tracker.sessions.keys import is_home
from tracker.sessions.layouts import USAGE_KEY, WATERMARK_KEY, encode_page, encode_state, encode_usage, encode_watermark
from tracker.sessions.outputs import FoldResult
from tracker.sessions.state import Watermark
from tracker.table.store import Row


def changed_rows(result: FoldResult, watermark: int, mark: Watermark) -> Iterator[Row]:
    """Yield the rows that a chunk has changed, in the order in which they have to be written.

    Usage comes first: it has counted what any state says that it has had. Pages come before the states that refer to
    them, and the states of other workspaces before those of homes, which tell whose records are found in which row.
    Removals and W come last. If the process is killed between two batches, a state that was written says that it has
    had its records, finds its pages, and leads to no row that has not been written; a stub or a page that is already
    gone could not.
    """
    homes: list[Row] = []
    removed: list[Row] = []
    if result.usage_offset >= 0:
        yield USAGE_KEY, result.usage_offset, encode_usage(result.usage_offset, result.usage_mark)
    for key, (offset, content) in result.pages.items():
        if content is None:
            removed.append((key, offset, None))
        else:
            yield key, offset, encode_page(offset, content)
    for key, row in result.changed.items():
        if row.state is None:
            removed.append((key, row.offset, None))
            continue
        written = key, row.offset, encode_state(row.offset, row.state, mark.layout)
        if is_home(key):
            homes.append(written)
        else:
            yield written
    yield from homes
    yield from removed
    yield WATERMARK_KEY, watermark, encode_watermark(watermark, mark)
