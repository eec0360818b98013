"""The hash by which rows in Kafka and in Tinybird are compared."""

import pytest

from tracker.verify.hashes import SESSIONS

ROW = {
    **dict.fromkeys(SESSIONS.text_columns, ""),
    **dict.fromkeys(SESSIONS.number_columns, 0),
    "created_at": "2026-03-01T10:00:00.000Z",
}


@pytest.mark.parametrize("column", SESSIONS.text_columns)
def test_another_text_gives_another_hash(column: str):
    assert SESSIONS.hash({**ROW, column: "other"}) != SESSIONS.hash(ROW)


def test_a_session_row_of_an_earlier_release_has_an_empty_visitor():
    earlier = {name: value for name, value in ROW.items() if name != "visitor_id"}
    assert SESSIONS.hash(earlier) == SESSIONS.hash(ROW)
