"""A child ends with its parent, however that ends, and only then."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.processes.children import Child

PARENT = """
import sys, time
from pathlib import Path
from tracker.processes.children import Child
child = Child("sleep", ["sleep", "600"], output=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_does_not_outlive_its_parent(tmp_path: Path, number: signal.Signals):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "output")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        assert is_alive(child_pid)

        parent.send_signal(number)
        parent.wait(PATIENCE_SECONDS)

    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(child_pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_child_outlives_the_thread_that_asked_for_it(tmp_path: Path):
    children: list[Child] = []
    asker = threading.Thread(
        target=lambda: children.append(
            Child("talks", ["sh", "-c", "while :; do echo; sleep 0.01; done"], output=tmp_path / "output")
        )
    )
    asker.start()
    asker.join()
    (child,) = children

    # Its output still grows after the thread is gone.
    size = (tmp_path / "output").stat().st_size
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (tmp_path / "output").stat().st_size <= size:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.returncode is None

    child.kill()


def test_a_command_that_is_not_there_is_the_callers_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Child("none", ["no-such-program"], output=tmp_path / "output")


def test_the_child_is_out_of_reach_of_the_terminals_interrupt(tmp_path: Path):
    child = Child("sleep", ["sleep", "600"], output=tmp_path / "output")

    assert os.getpgid(child.pid) != os.getpgid(0)

    child.kill()
