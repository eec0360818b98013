"""Several workers under one parent, as real processes: crashes, wrong configurations and stops."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.stages import wait_until
from tracker.local.ports import LOOPBACK, free_port
from tracker.processes.restarts import MAX_BACKOFF_SECONDS, SOUND_SECONDS, Restarts

PROJECT_DIR = Path(__file__).parents[3]
#: Runs two workers that do what the script says; NAME tells a worker which it is.
PARENT = """
import os, sys
from tracker.observe.internal_token import InternalToken
from tracker.processes.worker_pages import PagesAddress
from tracker.processes.worker_processes import Worker, run_workers
port, others = int(os.environ["PORT"]), {"one": 1, "two": 2}
workers = [Worker(name, others[name], {**os.environ, "NAME": name}) for name in others]
sys.exit(run_workers(["-c", sys.argv[1]], workers, PagesAddress("127.0.0.1", port, InternalToken(""), "PORT")))
"""
PATIENT = "import signal; signal.pause()"
#: The second says that it is set up wrong once the first is there.
ONE_IS_WRONG = (
    "import os, pathlib, signal, sys, time\n"
    "there = pathlib.Path('there')\n"
    "if os.environ['NAME'] == 'one': there.touch(); signal.pause()\n"
    "while not there.exists(): time.sleep(0.01)\n"
    "sys.exit(1)"
)


@contextmanager
def parent(script: str, directory: Path, port: int = 0) -> Iterator[psutil.Popen]:
    command = [sys.executable, "-c", PARENT, script]
    environment = {"PYTHONPATH": str(PROJECT_DIR), "PORT": str(port or free_port())}
    process = psutil.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait(PATIENCE_SECONDS)


def until_two(process: psutil.Popen, without: int = 0) -> list[psutil.Process]:
    def are_two() -> bool:
        return len(process.children()) == 2 and without not in [child.pid for child in process.children()]

    wait_until(are_two, "two workers run")
    return process.children()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_parent_and_every_worker(number: signal.Signals, tmp_path: Path) -> None:
    with parent(PATIENT, tmp_path) as process:
        workers = until_two(process)
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not any(worker.is_running() for worker in workers)


def test_a_worker_that_crashes_is_started_again_and_the_other_goes_on(tmp_path: Path) -> None:
    with parent(PATIENT, tmp_path) as process:
        crashed, other = until_two(process)
        crashed.kill()
        assert other in until_two(process, without=crashed.pid)


def problems(port: int) -> list[str]:
    """What the parent's page says of workers that are not ready."""
    try:
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=PATIENCE_SECONDS)
    except urllib.error.HTTPError as error:
        return json.load(error)["problems"]
    except OSError:
        pass
    return []


@pytest.mark.parametrize(
    ("script", "said"), [(PATIENT, "does not answer"), ("import sys; sys.exit(3)", "does not run; it is started again")]
)
def test_the_parents_page_says_of_each_worker_whether_it_runs(script: str, said: str, tmp_path: Path) -> None:
    port = free_port()
    with parent(script, tmp_path, port):
        wait_until(lambda: problems(port) == [f"one: {said}", f"two: {said}"], said)


def test_a_worker_that_is_set_up_wrong_ends_all_with_its_exit_code(tmp_path: Path) -> None:
    with parent(ONE_IS_WRONG, tmp_path) as process:
        assert process.wait(PATIENCE_SECONDS) == 1
        assert (tmp_path / "there").exists()


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with parent(PATIENT, tmp_path) as process:
        workers = until_two(process)
        process.kill()
        _, alive = psutil.wait_procs(workers, PATIENCE_SECONDS)
        assert alive == []


def test_the_wait_before_a_restart_doubles_up_to_a_limit_until_a_child_has_lived_long() -> None:
    restarts = Restarts()
    waits = [restarts.wait_seconds(0.0) for _ in range(8)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == MAX_BACKOFF_SECONDS
    assert restarts.wait_seconds(SOUND_SECONDS + 1) == 0.1
