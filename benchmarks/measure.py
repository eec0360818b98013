"""Workers as child processes: what they cost in CPU time and memory, from the kernel's own books."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PROJECT_DIR: Final = Path(__file__).parents[1]
STOP_TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05
SHOWN_LOG_LINES: Final = 20
_KIB: Final = 1024


class WorkerFailedError(Exception):
    """A worker ended, stood still, or gave wrong results: there is no figure to give."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a worker used from its start to its end: CPU of all its threads (user and system), and peak memory."""

    cpu_seconds: float
    peak_memory_mib: float


class Worker:
    """A process under measurement. Its output goes to a log file, which errors quote."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        work_dir: Path,
        program: str = sys.executable,
    ) -> None:
        self.name = name
        self._log_file = work_dir / f"{name}.log"
        self._command = [program, *arguments]
        self._environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR), **environment}
        self._work_dir = work_dir

    def __enter__(self) -> Self:
        # A directory of its own keeps a .env file of the checkout out of the measurement.
        self._work_dir.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._work_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def check_alive(self) -> None:
        """Make sure that the worker still runs.

        Raises:
            WorkerFailedError: it has ended; quotes its last words.
        """
        if self._process.poll() is not None:
            raise WorkerFailedError(f"{self.name} ended with status {self._process.returncode}\n{self.last_words()}")

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        self.check_alive()
        self._process.kill()
        self._process.wait()

    def stop(self) -> Usage:
        """Stop the worker cleanly and return what it has used in its whole life.

        Raises:
            WorkerFailedError: it had ended before, or did not stop in ``STOP_TIMEOUT_SECONDS``.
        """
        self.check_alive()
        peak_memory_mib = self.peak_memory_mib()
        self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return Usage(usage.ru_utime + usage.ru_stime, peak_memory_mib)
            time.sleep(POLL_SECONDS)
        raise WorkerFailedError(f"{self.name} did not stop in {STOP_TIMEOUT_SECONDS:.0f} s\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the last lines that the worker wrote."""
        lines = self._log_file.read_text(errors="replace").splitlines()
        return "\n".join([f"last lines of {self._log_file.name}:", *lines[-SHOWN_LOG_LINES:]])

    def pin_to_one_core(self) -> None:
        """Leave the worker one core, threads that it starts later included."""
        os.sched_setaffinity(self._process.pid, {max(os.sched_getaffinity(0))})

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far, all threads, user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_mib(self) -> float:
        """Return the most memory that it has had resident so far."""
        # VmHWM, not the rusage's ru_maxrss: that one also counts the parent's memory before the exec.
        return self._status_mib("VmHWM")

    def resident_memory_mib(self) -> float:
        """Return the memory that it has resident now."""
        return self._status_mib("VmRSS")

    def _status_mib(self, name: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) / _KIB
