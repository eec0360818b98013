"""``--processes`` and names of workers, as far as they show without Kafka."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS
from tracker.local.ports import LOOPBACK, free_port
from tracker.processes.lock import lock_directory


def run(*arguments: str, data_dir: Path, worker_id: str = "worker-1") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT_DIR),
        "TRACKER_DATA_DIR": str(data_dir),
        "TRACKER_WORKER_ID": worker_id,
        "TRACKER_KAFKA_BOOTSTRAP": f"{LOOPBACK}:{free_port()}",
        "TRACKER_PROCESS_PORT": str(free_port()),
        "TRACKER_SINK_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_sink_whose_name_is_taken_ends_with_all_that_were_started_with_it(processes: str, tmp_path: Path) -> None:
    with lock_directory(tmp_path / "sink" / "worker-1"):
        answer = run("sink", "--processes", processes, data_dir=tmp_path)
    assert answer.returncode == 1
    assert "another sink runs with TRACKER_WORKER_ID=worker-1 on this data directory" in answer.stdout


def test_a_name_that_is_too_long_for_a_second_worker_is_an_error_before_any_starts(tmp_path: Path) -> None:
    answer = run("process", "--processes", "2", data_dir=tmp_path, worker_id="w" * 64)
    assert answer.returncode == 1
    assert "TRACKER_WORKER_ID: the value has a wrong form" in answer.stdout
    assert not list(tmp_path.iterdir())
