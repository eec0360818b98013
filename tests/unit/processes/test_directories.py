"""What stages write to disk is for their own user alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracker.errors import ConfigurationError
from tracker.processes.directories import keep_files_private, make_directory


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_directory_is_made_for_this_user_alone(tmp_path: Path, generous_umask: None) -> None:
    make_directory(tmp_path / "above" / "mine")
    assert mode(tmp_path / "above" / "mine") == 0o700
    make_directory(tmp_path / "above" / "mine")


def test_everything_that_is_made_from_now_on_is_private_also_by_children(tmp_path: Path, generous_umask: None) -> None:
    keep_files_private()
    make_directory(tmp_path / "above" / "mine")
    (tmp_path / "file").touch()
    subprocess.run([sys.executable, "-c", "open('child', 'w')"], cwd=tmp_path, check=True)
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {"above": 0o700, "file": 0o600, "child": 0o600}


def test_a_file_in_the_way_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="TRACKER_DATA_DIR has to be writable"):
        make_directory(tmp_path / "file")
