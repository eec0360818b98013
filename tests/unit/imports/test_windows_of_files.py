"""The window of an import: what waits in memory is as small as it is said to be, and does not grow with the files."""

import json
from pathlib import Path

import psutil
import pytest

from tracker.imports.mapping import ColumnMapping
from tracker.imports.records import Import, Rejects, records
from tracker.imports.rows import RowMapper
from tracker.imports.run import check

ROWS = 8
#: How many rows later than its place the first one stands.
LATE_ROWS = 3
WAITING_ROWS = 50_000
#: A row of this test is shorter than an event usually is.
WAITING_ROW_MAX_BYTES = 2_000


def late_file(path: Path) -> str:
    """A file whose first row stands after three later ones."""
    rows = [
        {"session_id": "s", "timestamp": f"2025-03-01T10:00:{second:02}Z", "event_type": "click"}
        for second in range(ROWS)
    ]
    rows.insert(LATE_ROWS, rows.pop(0))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(("files", "window_rows", "too_late"), [(1, 3, 0), (3, 9, 0), (3, 3, 3)])
def test_files_share_the_window(tmp_path: Path, files: int, window_rows: int, too_late: int) -> None:
    names = [late_file(tmp_path / f"{number}.ndjson") for number in range(files)]
    with Rejects(None) as rejects:
        what = Import("x", names, None, RowMapper(ColumnMapping()), window_rows)
        assert check(what, rejects) == files * ROWS - too_late
    assert rejects.count == too_late
    assert all("give a larger --window-rows" in reason for reason in rejects.first)


def test_a_row_that_waits_takes_little_more_than_its_own_bytes(tmp_path: Path) -> None:
    row = {"session_id": "s", "timestamp": "2025-03-01T10:00:00Z", "event_type": "click", "page_url": "x" * 300}
    file = tmp_path / "many.ndjson"
    file.write_text((json.dumps(row) + "\n") * (WAITING_ROWS + 1))
    process = psutil.Process()
    before_bytes = process.memory_info().rss
    with Rejects(None) as rejects:
        stream = records(Import("x", [str(file)], None, RowMapper(ColumnMapping()), WAITING_ROWS), rejects)
        next(stream)
        assert (process.memory_info().rss - before_bytes) / WAITING_ROWS < WAITING_ROW_MAX_BYTES
