"""Tables that can be piped, and text from outside that does nothing to a terminal."""

import pytest

from tracker.cli.views.terminal import print_table


def test_a_table_into_a_pipe_has_each_row_whole_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("letter", "detail"), [("3:17", "x" * 200), ("3:18", "tab\there, bell\a, line\nend")])
    assert capsys.readouterr().out.splitlines() == [
        "letter\tdetail",
        f"3:17\t{'x' * 200}",
        "3:18\ttab here, bell\\x07, line\\nend",
    ]
