"""Ports and directories that somebody else uses are found out before anything starts."""

import socket
from pathlib import Path

import pytest

from tracker.errors import ConfigurationError
from tracker.local.ports import LOOPBACK, free_port, local_port, require_free_port
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


def test_a_directory_is_held_until_it_is_let_go(tmp_path: Path):
    held = lock_directory(tmp_path / "new")
    with pytest.raises(ConfigurationError, match="in use by another run"):
        lock_directory(tmp_path / "new")
    held.release()

    lock_directory(tmp_path / "new").release()
