"""Holding a folder of schemas against its rules: released versions never change, further ones only add."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from topics.schemas import SchemaId, Schemas
from tracker.errors import ConfigurationError
from tracker.schemas.changes import breaks
from tracker.schemas.files import schema_path

GIT_TIMEOUT_SECONDS: Final = 60
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_FILE: Final = re.compile(r"([a-z][a-z0-9_]*)/([0-9-]+)\.json")


def faults_of_versions(folder: Path, schemas: Schemas) -> Iterator[str]:
    """Yield what a version breaks of the one before it, with file and line. A new model may break anything."""
    in_order = sorted(schemas.documents, key=lambda each: (each.event_type, numbers(each)))
    for _, versions in groupby(in_order, key=lambda each: (each.event_type, numbers(each)[0])):
        for old, new in pairwise(versions):
            path = schema_path(folder, new)
            for place, problem in breaks(schemas.documents[old], schemas.documents[new]):
                line = line_of(path.read_text(), place)
                next_model = f"{numbers(new)[0] + 1}-0-0"
                yield (
                    f"{path}:{line}: {'.'.join(place)}: {problem}: "
                    f"this breaks events of {old.version}, so it needs the version {next_model}"
                )


def faults_against(folder: Path, schemas: Schemas, ref: str) -> Iterator[str]:
    """Yield the schemas that were there at a commit, and are gone or have changed.

    Raises:
        ConfigurationError: git can't tell.
    """
    if ref.startswith("-"):
        raise ConfigurationError(f"{ref}: this is no commit, tag or branch")
    for name in _git(folder, "ls-tree", "-r", "--name-only", ref, "--", ".").decode().splitlines():
        match = _FILE.fullmatch(name)
        if match is None:
            continue
        released = SchemaId(*match.groups())
        path = schema_path(folder, released)
        if released not in schemas.documents:
            yield f"{path}: is gone; a released version stays, because the log has events of it"
        elif orjson.loads(_git(folder, "show", f"{ref}:./{name}")) != schemas.documents[released]:
            yield f"{path}: has changed; a released version never does: write a further one"


def numbers(schema: SchemaId) -> Sequence[int]:
    """Return a version as numbers, which can be put in order."""
    return tuple(int(number) for number in schema.version.split("-"))


def line_of(text: str, place: Sequence[str]) -> int:
    """Return the line of the key that ``place`` leads to in a JSON document; that of the last key found, if it ends."""
    found, position = 0, _after_space(text, 0)
    for key in place:
        member = _member(text, position, key)
        if member is None:
            break
        found, position = member
    return text.count("\n", 0, found) + 1


def _member(text: str, position: int, key: str) -> tuple[int, int] | None:
    """Return where a key of the object at ``position`` begins, and where its value does."""
    decoder = json.JSONDecoder()
    while text[position] in "{,":
        begin = _after_space(text, position + 1)
        if text[begin] != '"':
            return None
        name, end = decoder.raw_decode(text, begin)
        value = _after_space(text, _after_space(text, end) + 1)
        if name == key:
            return begin, value
        _, end = decoder.raw_decode(text, value)
        position = _after_space(text, end)
    return None


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _git(folder: Path, *arguments: str) -> bytes:
    command: list[Any] = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git can't be run: {error}") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        raise ConfigurationError(f"git {arguments[0]}: {reason[-1]}")
    return done.stdout
