"""A folder of schemas that changes while a stage runs: it learns what is added, and keeps what it knew."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from tests.patience import PATIENCE_SECONDS
from topics.codec import RejectedRecord
from topics.schemas import SchemaId, Schemas
from tracker.errors import ConfigurationError
from tracker.processes import watched_file
from tracker.processes.watched_file import WatchedFile
from tracker.schemas.watched import watched_schemas

FIRST, SECOND = SchemaId("purchase", "1-0-0"), SchemaId("purchase", "1-1-0")


def of(*names: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in names}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def write(folder: Path, schema: SchemaId, document: Any) -> Path:
    path = folder / schema.event_type / f"{schema.version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def knows(schemas: Schemas, schema: SchemaId) -> bool:
    try:
        schemas.faults(schema, {})
    except RejectedRecord:
        return False
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, FIRST, of("a"))
    return tmp_path


@pytest.fixture
async def watched(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The schemas of the folder, and what watches it, often."""
    monkeypatch.setattr(watched_file, "POLL_SECONDS", 0.001)
    schemas, file = watched_schemas(folder)
    assert file is not None
    task = asyncio.create_task(file.watch())
    yield schemas, file
    task.cancel()


def remove(folder: Path, what: str) -> None:
    if what == "folder":
        folder.rename(folder.with_name("elsewhere"))
    else:
        (folder / "purchase" / "1-0-0.json").unlink()


async def until(is_so) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.001)


async def test_a_version_and_a_type_that_are_added_are_known_from_then_on(folder: Path, watched) -> None:
    schemas, _ = watched
    assert not knows(schemas, SECOND)
    with structlog.testing.capture_logs() as logged:
        write(folder, SECOND, of("a", "b"))
        await until(lambda: knows(schemas, SECOND))
    said = [line["schemas"] for line in logged if line["event"] == "further schemas are known"]
    assert said == [["purchase/1-1-0"]]
    assert schemas.faults(SECOND, {"b": "x"}) == []
    assert schemas.faults(FIRST, {"b": "x"}) != []
    write(folder, refund := SchemaId("refund", "1-0-0"), of())
    await until(lambda: knows(schemas, refund))


async def test_a_file_that_is_half_written_is_waited_for(folder: Path, watched) -> None:
    schemas, file = watched
    write(folder, SECOND, '{"type": "obj')
    await until(lambda: file.problem is not None)
    assert "1-1-0.json" in file.problem
    assert knows(schemas, FIRST)
    write(folder, SECOND, of("b"))
    await until(lambda: knows(schemas, SECOND))
    assert file.problem is None


async def test_a_version_that_has_changed_stays_as_it_was_and_is_named(folder: Path, watched) -> None:
    schemas, file = watched
    write(folder, FIRST, of("b"))
    await until(lambda: file.problem is not None)
    assert file.problem.startswith("purchase/1-0-0 has changed; a released version never does")
    assert schemas.faults(FIRST, {"a": "x"}) == []
    write(folder, FIRST, of("a"))
    write(folder, SECOND, of("b"))
    await until(lambda: knows(schemas, SECOND))


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_version_that_is_gone_is_known_on(folder: Path, watched, what: str) -> None:
    schemas, file = watched
    remove(folder, what)
    problem = "purchase/1-0-0 is gone" if what == "file" else "there is no such folder"
    await until(lambda: problem in (file.problem or ""))
    assert knows(schemas, FIRST)


def test_without_a_folder_there_is_nothing_to_watch_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    schemas, file = watched_schemas(None)
    assert (schemas.documents, file) == ({}, None)
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        watched_schemas(tmp_path / "none")


def test_a_folder_that_does_not_change_is_not_read_again(folder: Path) -> None:
    _, file = watched_schemas(folder)
    assert isinstance(file, WatchedFile)
    assert file._fingerprint(folder) == file._seen
    write(folder, SECOND, of("b"))
    assert file._fingerprint(folder) != file._seen
