"""A child that can't be started is an OSError, whatever is short, and leaves nothing open."""

import subprocess
import threading
from pathlib import Path

import pytest

from tracker.collect.run.child_process import ChildProcess


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("what", ["fork", "thread", "program"])
async def test_a_start_that_fails_is_an_operating_error_and_leaks_no_descriptor(monkeypatch, what):
    def no_fork(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    if what == "fork":
        monkeypatch.setattr(subprocess, "Popen", no_fork)
    elif what == "thread":
        monkeypatch.setattr(threading.Thread, "start", no_thread)
    else:
        monkeypatch.setattr("sys.executable", "/nonexistent")
    before = open_descriptors()
    with pytest.raises(OSError, match=r"unavailable|thread|nonexistent"):
        ChildProcess.start(0, [], {})
    assert open_descriptors() == before
