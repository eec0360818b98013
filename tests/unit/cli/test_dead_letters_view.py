"""Raw bytes of strangers on a terminal: readable, and inert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.cli.views.dead_letters import MAX_SHOWN_CHARS, readable
from tracker.cli.views.terminal import inert, iso


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_what_is_shown_can_be_printed(raw: bytes):
    assert all(char.isprintable() or char == "\n" for char in readable(raw))


@given(st.text(max_size=50))
def test_a_line_stays_a_line(text: str):
    assert "\n" not in inert(text)


def test_json_is_set_out_over_lines_and_letters_of_all_scripts_stay_as_they_are():
    assert readable('{"city":"Zürich","n":1}'.encode()) == '{\n  "city": "Zürich",\n  "n": 1\n}'


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[31mred", "\\x1b[31mred"),
        ("\u202etxt.exe".encode(), "\\u202etxt.exe"),  # turns the direction of what follows
        (b'{"a": "\\ud800\\u0007"}', '{\n  "a": "\\ud800\\u0007"\n}'),
        (b"[" * 100_000, "[" * MAX_SHOWN_CHARS + " … and 80000 characters more"),
        (None, "none"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(raw: bytes | None, shown: str):
    assert readable(raw) == shown


def test_a_time_beyond_all_calendars_is_shown_as_its_number():
    assert iso(1_764_000_000_001) == "2025-11-24T16:00:00.001Z"
    assert iso(10**18) == "1000000000000000000"
