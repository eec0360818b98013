"""Ports and directories that somebody else uses are found out before anything starts."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.errors import ConfigurationError
from tracker.local.ports import CLAIMED_PORTS, FREE_PORTS, LOOPBACK, free_port, local_port, require_free_port
from tracker.processes.lock import lock_directory


@pytest.mark.parametrize(
    "address", ["localhost:9092", "127.0.0.1:9092", "http://localhost:9092", "http://127.0.0.1:9092/"]
)
def test_a_local_address_gives_its_port(address: str):
    assert local_port(address, "TRACKER_X") == 9092


@pytest.mark.parametrize(
    "address", ["kafka:9092", "localhost", "localhost:9092,localhost:9093", "https://api.tinybird.co"]
)
def test_any_other_address_is_refused_by_the_name_of_its_setting(address: str):
    with pytest.raises(ConfigurationError, match="TRACKER_X"):
        local_port(address, "TRACKER_X")


def test_a_taken_port_is_named_with_its_setting():
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is taken.*TRACKER_X"):
            require_free_port(port, "TRACKER_X")


def test_a_free_port_is_free():
    require_free_port(free_port(), "TRACKER_X")


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed on Linux only")
def test_a_port_that_was_given_out_and_has_no_listener_yet_is_given_to_no_other_process():
    mine = [free_port() for _ in range(5)]
    all_others = "from tracker.local.ports import FREE_PORTS, free_port; print(*(free_port() for _ in FREE_PORTS))"
    answer = subprocess.run([sys.executable, "-c", all_others], capture_output=True, text=True, check=True)
    theirs = set(map(int, answer.stdout.split()))
    assert len(theirs) > len(FREE_PORTS) / 2
    assert theirs.isdisjoint(mine)


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed on Linux only")
def test_a_process_that_asks_for_many_ports_keeps_few_descriptors():
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = descriptors()
    for _ in range(2 * CLAIMED_PORTS):
        free_port()
    assert descriptors() <= before + CLAIMED_PORTS


def test_a_directory_is_held_until_it_is_let_go(tmp_path: Path):
    held = lock_directory(tmp_path / "new")
    with pytest.raises(ConfigurationError, match="in use by another run"):
        lock_directory(tmp_path / "new")
    held.release()

    lock_directory(tmp_path / "new").release()
