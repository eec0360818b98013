"""What the contract tests of the two seams ask: which private names a library has, and which our code uses."""

import ast
import inspect
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from textwrap import dedent


def missing(leaned_on: Iterable[tuple[type, str]]) -> list[str]:
    """Return the private names that their classes don't have any more, as ``Class.name``."""
    return [f"{owner.__name__}.{name}" for owner, name in leaned_on if not _has(owner, name)]


def _has(owner: type, name: str) -> bool:
    """Whether a class has an attribute itself, or sets it on its instances."""
    own = [base for base in owner.__mro__ if not base.__module__.startswith(("tracker", "builtins", "typing", "abc"))]
    return hasattr(owner, name) or any(name in _set_attributes(base) for base in own)


@cache
def _set_attributes(owner: type) -> set[str]:
    nodes = ast.walk(ast.parse(dedent(inspect.getsource(owner))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}


def used(path: Path) -> set[str]:
    """Return the private names that a module reads, writes or overrides."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}
