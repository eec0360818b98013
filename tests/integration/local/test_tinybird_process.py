"""The local Tinybird as a process: what stops it from starting, and how it ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tracker.local.ports import LOOPBACK


def run_until_refused(tinybird: LocalTinybird, **environment: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "tracker.local.tinybird"],
        env={**tinybird.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    return answer.stderr


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path):
    tinybird = LocalTinybird(tmp_path)
    port = urlsplit(tinybird.url).port
    with socket.create_server((LOOPBACK, port)):
        assert f"port {port} is taken" in run_until_refused(tinybird)
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_on_the_same_data_is_refused(local_tinybird: LocalTinybird, tmp_path: Path):
    second = LocalTinybird(tmp_path, TRACKER_DATA_DIR=str(local_tinybird.data_dir))

    assert "in use by another run" in run_until_refused(second)


def test_tables_that_are_not_the_files_tables_are_refused(tmp_path: Path):
    tinybird = LocalTinybird(tmp_path / "run")
    (tmp_path / "run").mkdir()
    tinybird.start()
    assert tinybird.stop() == 0
    changed = tmp_path / "project" / "datasources"
    changed.mkdir(parents=True)
    for file in (PROJECT_DIR / "tinybird" / "datasources").iterdir():
        (changed / file.name).write_text(file.read_text().replace("`event_count` UInt32", "`event_count` UInt64"))

    refused = run_until_refused(tinybird, TRACKER_TINYBIRD_PROJECT_DIR=str(changed.parent))

    assert "session_v1 with other columns than its file (event_count)" in refused


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told_to(tmp_path: Path, number: signal.Signals):
    tinybird = LocalTinybird(tmp_path)
    tinybird.start()
    assert tinybird.process is not None

    tinybird.process.send(number)

    assert tinybird.process.wait(PATIENCE_SECONDS) == 0
    assert tinybird.token not in tinybird.log_file.read_text()
