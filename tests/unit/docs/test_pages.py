"""What the pages name exists: relative links, files, and the calls of the walk."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT_DIR = Path(__file__).parents[3]
MAX_WALK_STEPS = 25
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:tracker|topics|tests|scripts|ops|sdk|examples|benchmarks|tinybird)/[\w./-]*\w\.\w+)`")
STEP = re.compile(r"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \|", re.MULTILINE)


def pages() -> list[Path]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=PROJECT_DIR, check=True, capture_output=True, text=True).stdout.split("\0")
    return [PROJECT_DIR / name for name in names if name and (PROJECT_DIR / name).is_file()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT_DIR)))
def test_every_link_and_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]
    assert not [link for link in links if not (page.parent / link).exists()]
    if page.name != "CHANGELOG.md":  # it speaks of what was
        assert not [name for name in FILE.findall(text) if not (PROJECT_DIR / name).exists()]


def calls(path: Path) -> set[str]:
    """The functions of a module and the methods of its classes, as ``name`` and ``Class.name``."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    body = ast.parse(path.read_text()).body
    methods = {
        f"{node.name}.{each.name}"
        for node in body
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, functions)
    }
    return methods | {node.name for node in body if isinstance(node, functions)}


def test_the_walk_names_calls_that_exist_and_never_goes_back_to_a_file() -> None:
    steps = STEP.findall((PROJECT_DIR / "docs" / "walk.md").read_text())
    assert [int(number) for number, _, _ in steps] == list(range(1, len(steps) + 1))
    assert 15 <= len(steps) <= MAX_WALK_STEPS
    files = [file for _, file, _ in steps]
    assert len(set(files)) == len(files)
    for _, file, call in steps:
        assert call in calls(PROJECT_DIR / file), f"{file} has no {call}"


def test_no_two_decisions_share_a_number() -> None:
    """0035 was given twice while two changes were under way; both are cited by their titles."""
    numbers = [path.name[:4] for path in (PROJECT_DIR / "docs" / "decisions").glob("[0-9]*.md")]
    assert sorted(numbers) == sorted(set(numbers))
