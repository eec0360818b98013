"""``tracker dev`` and ``tracker demo`` as a person runs them: up, showing what arrives, and leaving nothing behind."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.demo.check import isolated
from tracker.local.stack import environment
from tracker.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return isolated(Settings(), tmp_path)


class Running:
    """A command that was started, with what it has printed so far."""

    def __init__(self, settings: Settings, command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tracker", command],
            env={**os.environ, **environment(settings), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = ""

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.output:
            readable, _, _ = select.select([self.process.stdout], [], [], deadline - time.monotonic())
            assert readable, f"no {text!r} in:\n{self.output}"
            read = os.read(self.process.stdout.fileno(), 65_536)
            assert read, f"ended without {text!r}:\n{self.output}"
            self.output += read.decode()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.output += rest.decode()
        return self.process.returncode


@contextmanager
def running(settings: Settings, command: str) -> Iterator[Running]:
    run = Running(settings, command)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def test_dev_runs_one_stack_and_leaves_no_process_behind(settings: Settings) -> None:
    with running(settings, "dev") as dev:
        dev.wait_for("ready; Ctrl-C stops everything")
        watched = [os.pidfd_open(child.pid) for child in psutil.Process(dev.process.pid).children(recursive=True)]
        with running(settings, "dev") as second:
            second.wait_for(f"port {settings.collect_port} is taken")
            assert second.process.wait(PATIENCE_SECONDS) == 1
        assert dev.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert len(watched) >= 5, "kafka, tinybird, collect, process, sink"
    for process in watched:
        ended, _, _ = select.select([process], [], [], PATIENCE_SECONDS)
        os.close(process)
        assert ended


def test_demo_shows_an_event_as_it_arrives_and_ends_quietly(settings: Settings) -> None:
    with running(settings, "demo") as demo:
        demo.wait_for("what arrives in events_v1")
        body = {"event_type": "click", "clicked_element": "button#live", "page_url": "https://shop.example/"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{settings.collect_port}/api/v1/events/track",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            assert answer.status == 202
        demo.wait_for("    1  click        button#live https://shop.example/")
        assert demo.end(signal.SIGINT) == 130
        assert "Traceback" not in demo.output
