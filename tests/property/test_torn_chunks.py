"""A worker is killed between two batches of the changelog: its successor folds the chunk again on what was written."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.session_logs import GAPS, HEADERS, MAX_RECORDS, STEPS, TIGHT_RULES, write
from tests.sessions_log import MINUTE_MS, START_MS, Log
from tracker.sessions.keys import is_page
from tracker.sessions.layouts import USAGE_KEY, WATERMARK_KEY, decode_page, decode_state, offset_of
from tracker.sessions.rules import Rules
from tracker.sessions.working_table import Row
from tracker.table.changes import changed_rows

#: Longer than any log.
KEPT_MS = 100_000 * MINUTE_MS
LONG_LOGS = st.lists(st.tuples(STEPS, GAPS, HEADERS), min_size=12, max_size=MAX_RECORDS)


def tables_after_each_batch(log: Log, begin: int) -> tuple[dict[bytes, bytes], list[dict[bytes, bytes]]]:
    """Fold a log up to an offset, and the rest as a chunk of which only the first rows were written, for each number.

    Returns:
        The table that the whole chunk gives, and the one that folding it again gives after each row.
    """
    log.fold(begin)
    table, pages, mark = log.encoded_table(), dict(log.pages), log.partition.mark
    rows = list(changed_rows(log.fold(), len(log.records) - 1, log.partition.mark))
    expected, found = log.encoded_table(), []
    for count in range(len(rows)):
        log.table = {key: Row(key, decode_state(raw), offset_of(raw)) for key, raw in table.items()}
        log.pages = dict(pages)
        for key, offset, value in rows[:count]:
            if is_page(key):
                log.pages.pop(key, None) if value is None else log.pages.update({key: decode_page(value)})
            elif value is None:
                log.table.pop(key, None)
            elif key not in (USAGE_KEY, WATERMARK_KEY):
                log.table[key] = Row(key, decode_state(value), offset)
        log.recover(mark)
        log.go_back_to(begin)
        log.fold()
        found.append(log.encoded_table())
    return expected, found


@given(LONG_LOGS, TIGHT_RULES, st.integers(min_value=0, max_value=8))
def test_folding_a_chunk_again_gives_the_same_table_wherever_it_was_torn(steps, rules, begin):
    log = write(steps, replace(rules, forgotten_retention_ms=KEPT_MS))
    expected, found = tables_after_each_batch(log, begin)
    assert found == [expected] * len(found)


@pytest.mark.parametrize("is_due_earlier", [True, False])
@pytest.mark.parametrize("last", ["other", "home"])
def test_the_row_of_another_workspace_is_not_lost_when_home_is_forgotten_in_the_same_chunk(
    last: str, is_due_earlier: bool
):
    log = Log(Rules(timeout_ms=MINUTE_MS, closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=KEPT_MS))
    log.event("s", event_id="a", workspace_id="home")
    log.event("s", START_MS + 90_000, event_id="b", workspace_id="other")
    if is_due_earlier:
        log.event("t", START_MS + 4 * MINUTE_MS, event_id="c")
    log.event("s", START_MS + 4 * MINUTE_MS, event_id="d", workspace_id=last)
    expected, found = tables_after_each_batch(log, 1)
    assert len(found) >= 3
    assert found == [expected] * len(found)
