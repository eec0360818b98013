"""What a new version breaks, against the validator itself; the line that does; what git says was released."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from topics.schemas import SchemaId, Schemas
from tracker.cli.app import app
from tracker.schemas.changes import breaks
from tracker.schemas.checks import line_of

NUMBER = {"type": "number"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


OLD = of(
    total={"type": "number", "minimum": 0},
    name={"type": "string", "enum": ["a", "b"]},
    tags={"type": "array", "items": {"type": "string"}},
)


def changed(**properties: Any) -> dict[str, Any]:
    return of(**{**OLD["properties"], **properties})


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        changed(coupon={"type": "string"}),
        changed(total={"type": "number"}),
        changed(total={"type": "number", "minimum": -1, "title": "what it cost"}),
        changed(name={"type": "string", "enum": ["a", "b", "c"]}),
        changed(name={"type": "string"}),
        {**OLD, "additionalProperties": True},
    ],
)
def test_what_adds_breaks_nothing(new: dict[str, Any]) -> None:
    assert list(breaks(OLD, new)) == []


@pytest.mark.parametrize(
    ("new", "place", "problem"),
    [
        (changed(total={"type": "string"}), "properties.total.type", "was number, is string"),
        (changed(total={"type": "integer", "minimum": 0}), "properties.total.type", "was number, is integer"),
        (changed(total={"type": "number", "minimum": 1}), "properties.total.minimum", "was 0, is 1"),
        (changed(total={"type": "number", "maximum": 9}), "properties.total.maximum", "was not limited, is 9"),
        (changed(name={"type": "string", "enum": ["a"]}), "properties.name.enum", "has no b"),
        (changed(name={"type": "string", "pattern": "a"}), "properties.name.pattern", "was not there, is a"),
        (changed(tags={"type": "array", "items": NUMBER}), "properties.tags.items.type", "was string, is number"),
        ({**OLD, "required": ["total"]}, "required", "total was not required"),
        (of(total=OLD["properties"]["total"]), "properties", "name is gone"),
    ],
)
def test_what_breaks_is_named_with_its_place(new: dict[str, Any], place: str, problem: str) -> None:
    found = [(".".join(each.place), each.problem) for each in breaks(OLD, new)]
    assert (place, problem) in found


kinds = st.sampled_from(
    [
        NUMBER, {"type": "integer"}, {"type": "number", "minimum": 1}, {"type": "number", "maximum": 1},
        {"type": "string"}, {"type": "string", "maxLength": 1}, {"type": "string", "enum": ["a", "bb"]},
        {"type": "string", "enum": ["a"]}, {"type": "boolean"}, {"type": "array", "items": NUMBER},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 1},
    ]
)  # fmt: skip
objects = st.builds(
    lambda properties, required, is_open: {
        "type": "object",
        "properties": properties,
        "required": [name for name in required if name in properties],
        "additionalProperties": is_open,
    },
    st.dictionaries(st.sampled_from("abc"), kinds, max_size=3),
    st.lists(st.sampled_from("abc"), unique=True),
    st.booleans(),
)
values = st.sampled_from([0, 1, 2, 1.5, "a", "bb", "ccc", True, [], [1], [1.5], [1, 2], None])


@given(objects, objects, st.dictionaries(st.sampled_from("abcd"), values))
def test_what_breaks_nothing_takes_all_that_was_taken(
    old: dict[str, Any], new: dict[str, Any], properties: dict[str, Any]
) -> None:
    if list(breaks(old, new)):
        return
    first, second = SchemaId("x", "1-0-0"), SchemaId("x", "1-1-0")
    schemas = Schemas({first: old, second: new})
    assert schemas.faults(first, properties) or not schemas.faults(second, properties)


def test_the_line_is_that_of_the_key() -> None:
    lines = (
        '{ "required": ["total"],',
        ' "properties": {',
        '  "in": {"type": "object", "properties": {"total": {}}},',
        '  "total":',
        '   {"type": 1,',
        '    "minimum": 5}}}',
    )
    text = "\n".join(lines)
    assert line_of(text, ("properties", "total", "minimum")) == 6
    assert line_of(text, ("properties", "total")) == 4
    assert line_of(text, ("properties", "nothing")) == 2
    assert line_of(text, ("required",)) == 1


# The command, on a repository of its own


def write(folder: Path, version: str, schema: dict[str, Any]) -> Path:
    path = folder / "purchase" / f"{version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema, indent=1))
    return path


def check(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["schemas", "check", "--dir", str(folder), *arguments])
    return done.exit_code, done.output.splitlines()


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A folder in a repository, with a version that is committed."""
    folder = tmp_path / "schemas"
    write(folder, "1-0-0", OLD)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "1"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return folder


def test_a_version_that_adds_is_well(released: Path) -> None:
    write(released, "1-1-0", changed(coupon={"type": "string"}))
    assert check(released, "--against", "HEAD") == (0, ["2 schemas of 1 event types: all is well"])


def test_a_version_that_breaks_is_refused_with_its_line_unless_it_is_a_new_model(released: Path) -> None:
    path = write(released, "1-1-0", changed(total={"type": "number", "minimum": 1}))
    code, (line,) = check(released)
    number = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if '"minimum"' in text)
    assert code == 1
    assert line.startswith(f"{path}:{number}: properties.total.minimum: was 0, is 1")
    assert line.endswith("it needs the version 2-0-0")
    path.rename(path.with_name("2-0-0.json"))
    assert check(released)[0] == 0


def test_a_released_version_that_is_changed_or_gone_is_refused(released: Path) -> None:
    path = write(released, "1-0-0", changed(coupon={"type": "string"}))
    code, (line,) = check(released, "--against", "HEAD")
    assert (code, "has changed" in line) == (1, True)
    path.rename(path.with_name("1-0-1.json"))
    code, (line,) = check(released, "--against", "HEAD")
    assert (code, "is gone" in line) == (1, True)


@pytest.mark.parametrize("ref", ["nowhere", "--output=x"])
def test_what_git_does_not_know_is_an_error(released: Path, ref: str) -> None:
    assert CliRunner().invoke(app, ["schemas", "check", "--dir", str(released), f"--against={ref}"]).exit_code == 1
