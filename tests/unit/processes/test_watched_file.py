"""A file that is written, replaced, removed or broken while it is watched."""

import asyncio
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.errors import ConfigurationError
from tracker.processes import watched_file
from tracker.processes.watched_file import WatchedFile


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watched_file, "POLL_SECONDS", 0.001)


def read(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


class Watching:
    """A file that is watched, and a way to wait for the next change."""

    def __init__(self, path: Path, **options) -> None:
        self._changed = asyncio.Event()
        self.file = WatchedFile(path, read, what="number", on_change=self._changed.set, **options)
        self._task = asyncio.create_task(self.file.watch())

    async def change(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._changed.wait()
        self._changed.clear()
        assert not self._task.done()


async def test_a_file_may_be_written_replaced_removed_and_come_back(tmp_path):
    path = tmp_path / "n"
    path.write_text("1")
    watching = Watching(path)
    assert watching.file.value == 1
    replace(path, "2")
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (2, None)
    path.unlink()
    await watching.change()
    assert watching.file.value == 2
    assert "No such file" in watching.file.problem
    path.write_text("three")
    await watching.change()
    assert (watching.file.value, "three" in watching.file.problem) == (2, True)
    replace(path, "4")
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (4, None)


async def test_its_folder_may_go_away_at_any_moment(tmp_path):
    """As a mounted secret does when it is replaced: between two system calls there may be nothing."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "n").write_text("1")
    watching = Watching(folder / "n")
    folder.rename(tmp_path / "old")
    await watching.change()
    assert (watching.file.value, watching.file.problem is not None) == (1, True)
    (tmp_path / "mounted").write_text("not a folder now")
    (tmp_path / "mounted").unlink()
    (tmp_path / "old").rename(folder)
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (1, None)


async def test_a_value_that_may_not_replace_the_old_one_does_not(tmp_path):
    path = tmp_path / "n"
    path.write_text("5")
    watching = Watching(path, check=lambda old, new: "it must grow" if new < old else None)
    replace(path, "4")
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (5, "it must grow")
    replace(path, "6")
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (6, None)


async def test_a_file_that_could_not_be_read_for_a_while_is_read_then(tmp_path, monkeypatch):
    """As when there are too many open files: the file does not change when there are fewer again."""
    monkeypatch.setattr(watched_file, "RETRY_SECONDS", 0.001)
    path = tmp_path / "n"
    path.write_text("1")
    is_readable = True

    def read_if_readable(path: Path) -> int:
        if not is_readable:
            raise ConfigurationError("too many open files")
        return read(path)

    watching = Watching(path)
    watching.file._read = read_if_readable
    is_readable = False
    replace(path, "2")
    await watching.change()
    assert (watching.file.value, watching.file.problem) == (1, "too many open files")
    is_readable = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while watching.file.value != 2:
            await watching.change()
    assert watching.file.problem is None


def test_at_the_start_there_is_no_old_value_to_keep(tmp_path):
    with pytest.raises(ConfigurationError):
        WatchedFile(tmp_path / "n", read, what="number")
