"""Stages as the real processes that they are, for tests that start, kill and watch them."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS
from tracker.local.ports import free_port
from tracker.processes.children import Child

POLL_INTERVAL_SECONDS = 0.05


class Stage:
    """``python -m tracker NAME`` with an environment of its own; can be killed and started again.

    ``module`` may be another that ends in the same command, such as one that injects a fault.
    """

    def __init__(self, name: str, data_dir: Path, environment: dict[str, str], module: str = "tracker") -> None:
        self.name = name
        self.module = module
        self.data_dir = data_dir
        self.log_file = data_dir / f"{name}.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT_DIR),
            "TRACKER_DATA_DIR": str(data_dir),
            "TRACKER_COLLECT_METRICS_PORT": str(free_port()),
            "TRACKER_SINK_PORT": str(free_port()),
            **environment,
        }
        self._process: Child | None = None
        self.starts = 0

    def start(self) -> None:
        data_dir_log = self.log_file.with_suffix(f".{self.starts}.log")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", self.module, self.name]
        self._process = Child(self.name, command, env=self._environment, output=data_dir_log)
        self.log_file = data_dir_log
        self.starts += 1

    def assert_running(self) -> None:
        assert self._process is not None
        assert self._process.returncode is None, f"{self.name} ended by itself:\n{self.log_file.read_text()[-4_000:]}"

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        self.assert_running()
        assert self._process is not None
        self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP, as a machine that is suspended."""
        self.assert_running()
        assert self._process is not None
        freeze(self._process.pid)

    def wake(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_SECONDS)

    def exit_status(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for it to end by itself."""
        assert self._process is not None
        return self._process.wait(timeout_seconds)

    def set_environment(self, **environment: str) -> None:
        """What an operator changes before the next start."""
        self._environment.update(environment)

    def end(self) -> None:
        """Whatever state it is in, leave nothing running."""
        if self._process is not None:
            self._process.kill()

    def lose_disk(self) -> None:
        """Delete what the stage keeps locally, as a lost disk would."""
        assert self.has_databases(), f"{self.name} has no database below {self.data_dir} that could be lost"
        shutil.rmtree(self.data_dir / self.name)

    def has_databases(self) -> bool:
        """Whether the stage keeps anything locally yet: a start under load takes seconds to come that far."""
        return any((self.data_dir / self.name).rglob("CURRENT"))


def freeze(pid: int) -> None:
    """SIGSTOP; return when each of its threads has stopped: until then it may still work."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(_is_stopped, Path(f"/proc/{pid}/task").iterdir())), f"process {pid} stands still")


def _is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout_seconds: float = PATIENCE_SECONDS,
    poll_seconds: float = POLL_INTERVAL_SECONDS,
) -> None:
    """Poll until a condition holds; fail with its name when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(poll_seconds)
