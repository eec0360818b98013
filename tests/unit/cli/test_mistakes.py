"""The likeliest mistakes lead to one line that names the setting and the way out, never to a traceback."""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.unit.cli.mistakes import MISTAKES, Mistake, page
from tracker.cli.app import app
from tracker.local.ports import free_port

#: Modules that may have imported an extra in another test.
IMPORT_EXTRAS = ("tracker.demo", "tracker.local", "tracker.imports", "tracker.observe.spans")
PROJECT_DIR = Path(__file__).parents[3]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener.getsockname()[1]


def run_in_a_fork(arguments: list[str], environment: dict[str, str], without: Sequence[str]) -> tuple[int, str]:
    """Run the command line in a copy of this process: a stage that starts after all must not stay, nor leave a trace.

    Returns:
        The exit code, minus a signal's number, and what was printed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE_SECONDS)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        for name in [name for name in sys.modules if name.startswith((*without, *IMPORT_EXTRAS))]:
            del sys.modules[name]
        sys.modules.update(dict.fromkeys(without))
        os.environ.update(environment)
        code = 70
        try:
            app(arguments, prog_name="tracker")
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as output:
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_one_line_that_says_the_way_out(
    mistake: Mistake, tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"dir": tmp_path, "taken": taken, "free": free_port()}
    monkeypatch.chdir(tmp_path)
    for name, text in mistake.files.items():
        (tmp_path / name).write_text(text)
    environment = {
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "TRACKER_DATA_DIR": str(tmp_path / "data"),
        "TRACKER_KAFKA_BOOTSTRAP": f"localhost:{free_port()}",
        **{name: value.format(**places) for name, value in mistake.environment.items()},
    }

    code, said = run_in_a_fork(mistake.command.format(**places).split(), environment, mistake.without)

    assert code == mistake.exit_code, said
    assert mistake.says.format(**places) in said
    assert "Traceback" not in said
    if mistake.exit_code == 1:
        assert sum(line.startswith("tracker: ") for line in said.splitlines()) == 1, said


def test_the_page_of_mistakes_is_current_and_has_forty() -> None:
    current = (PROJECT_DIR / "docs" / "mistakes.md").read_text()
    assert current == page(), "python -m tests.unit.cli.mistakes > docs/mistakes.md"
    assert len(MISTAKES) >= 40
