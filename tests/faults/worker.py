"""One processor of many: a real process with a data directory of its own, which can be doomed, stopped and woken."""

import json
import signal
import time
import urllib.request
from pathlib import Path

import orjson

from tests.faults.doomed import NOTE_NAME
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage
from tracker.local.ports import LOOPBACK, free_port

POLL_SECONDS = 0.02
LAST_WORDS_CHARS = 6_000


class Worker(Stage):
    """``tracker process`` under a name. Its log lies in ``data_dir``, its state on ``disk``, if that is another."""

    def __init__(self, worker_id: str, data_dir: Path, environment: dict[str, str], disk: Path | None = None) -> None:
        self.worker_id = worker_id
        self.port = free_port()
        self.disk = disk or data_dir
        self.is_up = False
        self.note = self.disk / NOTE_NAME
        own = {
            "TRACKER_WORKER_ID": worker_id,
            "TRACKER_PROCESS_PORT": str(self.port),
            "TRACKER_DATA_DIR": str(self.disk),
        }
        super().__init__("process", data_dir, {**environment, **own})

    def start(self) -> None:
        self.module = "tracker"
        super().start()
        self.is_up = True

    def start_doomed(self, step: str, chunk: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Start it so that it sends itself a signal at a step of the checkpoint, after some chunks."""
        self.note.unlink(missing_ok=True)
        self.module = "tests.faults.doomed"
        fault = {"FAULT_STEP": step, "FAULT_CHUNK": str(chunk), "FAULT_SIGNAL": number.name}
        self._environment = {**self._environment, **fault}
        super().start()
        self.is_up = True

    @property
    def status(self) -> int | None:
        """How it ended, or None while it runs."""
        assert self._process is not None
        return self._process.returncode

    def wait_for_note(self) -> dict:
        """Wait until it has struck itself; what it says of where it was."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.note.exists():
            if self.status is not None and not self.note.exists():  # it may have struck since the last look
                self.assert_running()
            assert time.monotonic() < deadline, f"{self.worker_id} did not come to its step in {PATIENCE_SECONDS} s"
            time.sleep(POLL_SECONDS)
        note: dict = orjson.loads(self.note.read_bytes())
        return note

    def wait_for_end(self) -> int:
        """Wait until the process has ended; its status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE_SECONDS)
        self.is_up = False
        return status

    def kill(self) -> None:
        super().kill()
        self.is_up = False

    def stop(self) -> int:
        self.is_up = False
        try:
            return super().stop()
        except TimeoutError:
            raise AssertionError(f"{self.worker_id} did not stop\n{self.last_words()}") from None

    def leases(self) -> int:
        """How many partitions it may fold; 0 while it can't be asked."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/healthz", timeout=2) as answer:
                return int(json.load(answer)["partitions"])
        except OSError:
            return 0

    def store_files(self) -> list[Path]:
        """The files of its local state."""
        return sorted(path for path in (self.disk / "process").rglob("partition-*/*") if path.is_file())

    def words(self) -> str:
        """All that it has said since its last start."""
        return self.log_file.read_text(errors="replace")

    def last_words(self) -> str:
        return self.words()[-LAST_WORDS_CHARS:]
