"""A copy of the project that may be mutated: mutmut works in it, and the checkout stays as it is."""

import ast
import shutil
import subprocess
from pathlib import Path

from tests.mutants.parts import NOT_MUTATED_LINES, Part

#: The folder whose modules are mutated. mutmut copies it, the tests and pyproject.toml without being told.
SOURCES = "tracker"
#: mutmut leaves decorated functions alone. These are decorated by an assignment instead, which says the same.
UNDONE_DECORATORS = {"property", "contextmanager", "asynccontextmanager"}
#: A test hangs if it takes longer than (its own time + the constant) * the multiplier.
TIMEOUT_CONSTANT_SECONDS = 10.0
TIMEOUT_MULTIPLIER = 2.0


def make_tree(root: Path, tree: Path, part: Part, files: list[str]) -> None:
    """Copy what git knows of, with the part's modules ready for mutmut. Files that have not changed are left alone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, capture_output=True, text=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    for name in names:
        content = (root / name).read_bytes()
        if name in files:
            content = without_decorators(content.decode()).encode()
        if name == "pyproject.toml":
            content += settings_of(part, files, beside_the_sources(names)).encode()
        _write(tree / name, content)
    wanted = {tree / name for name in names}
    for path in [path for path in tree.rglob("*.py") if "mutants" not in path.relative_to(tree).parts[:1]]:
        if path not in wanted:
            path.unlink()
    # mutmut copies these itself, but never takes anything away again.
    for name in ("tests", *beside_the_sources(names)):
        shutil.rmtree(tree / "mutants" / name, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def beside_the_sources(names: list[str]) -> list[str]:
    """All else at the top of the project: tests read files of any folder, and mutmut copies only what it is told to."""
    return sorted({name.split("/")[0] for name in names} - {SOURCES, "tests", "pyproject.toml"})


def settings_of(part: Part, files: list[str], others: list[str]) -> str:
    """mutmut's settings for one part, as TOML."""
    settings = {
        "source_paths": [SOURCES],
        "only_mutate": files,
        "also_copy": others,
        "do_not_mutate_patterns": list(NOT_MUTATED_LINES),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:schemathesis", "--hypothesis-profile=mutants"],
        "pytest_add_cli_args_test_selection": ["-m", "not slow", *part.tests],
        "timeout_constant": TIMEOUT_CONSTANT_SECONDS,
        "timeout_multiplier": TIMEOUT_MULTIPLIER,
        "use_git_change_detection": False,
    }
    lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
    return "\n".join(["", "[tool.mutmut]", *lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(f"'{each}'" for each in value) + "]"
    return str(value).lower()


def without_decorators(source: str) -> str:
    """Turn ``@property def x`` into ``def x`` and ``x = property(x)``, and likewise for other decorators."""
    lines = source.split("\n")
    decorated = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and len(node.decorator_list) == 1
        and isinstance(node.decorator_list[0], ast.Name)
        and node.decorator_list[0].id in UNDONE_DECORATORS
    ]
    for node in sorted(decorated, key=lambda node: -node.lineno):
        decorator = node.decorator_list[0]
        assert isinstance(decorator, ast.Name)
        assert node.end_lineno is not None
        lines.insert(node.end_lineno, f"{' ' * node.col_offset}{node.name} = {decorator.id}({node.name})")
        del lines[decorator.lineno - 1]
    return "\n".join(lines)
