"""The likeliest mistakes lead to one line that names the setting and the way out, never to a traceback."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.cli.mistakes import MISTAKES, Mistake, page
from tracker.cli.app import app
from tracker.local.ports import free_port

PROJECT_DIR = Path(__file__).parents[3]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_one_line_that_says_the_way_out(
    mistake: Mistake, tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"dir": tmp_path, "taken": taken, "free": free_port()}
    monkeypatch.chdir(tmp_path)
    for name, text in mistake.files.items():
        (tmp_path / name).write_text(text)
    for module in mistake.without:
        monkeypatch.setitem(sys.modules, module, None)
    environment = {
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "TRACKER_DATA_DIR": str(tmp_path / "data"),
        "TRACKER_KAFKA_BOOTSTRAP": f"localhost:{free_port()}",
        **{name: value.format(**places) for name, value in mistake.environment.items()},
    }

    result = CliRunner(env=environment).invoke(app, mistake.command.format(**places).split(), prog_name="tracker")

    assert result.exit_code == mistake.exit_code, result.stderr
    assert mistake.says.format(**places) in result.stderr
    assert "Traceback" not in result.output + result.stderr
    if mistake.exit_code == 1:
        said = [line for line in result.stderr.splitlines() if line.startswith("tracker: ")]
        assert len(said) == 1, result.stderr


def test_the_page_of_mistakes_is_current_and_has_forty() -> None:
    current = (PROJECT_DIR / "docs" / "mistakes.md").read_text()
    assert current == page(), "python -m tests.unit.cli.mistakes > docs/mistakes.md"
    assert len(MISTAKES) >= 40
