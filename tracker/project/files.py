"""Finds the project's files, and writes them out for those who installed the package."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError

#: The shipped files: setup.py copies these from the top of the repository into the package.
SHIPPED: Final = (
    "tinybird",
    "ops",
    "sdk",
    "examples",
    "Dockerfile",
    ".dockerignore",
    "compose.yml",
    "docker-compose.kafka.yml",
    ".env.example",
)
_NOT_SHIPPED: Final = shutil.ignore_patterns("node_modules", "__pycache__", "*.pyc")
_INSTALLED: Final = Path(__file__).with_name("files")
_CHECKOUT: Final = Path(__file__).parents[2]


def project_dir() -> Path:
    """Return the directory that has the shipped files."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def tinybird_dir() -> Path:
    """Return the Tinybird project: ``datasources`` and ``pipes``."""
    return project_dir() / "tinybird"


def copy_shipped(source: Path, target: Path) -> None:
    """Copy the shipped files from one directory into another; links become files."""
    for name in SHIPPED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=_NOT_SHIPPED, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target / name)


def export(target: Path, *, overwrite: bool) -> list[Path]:
    """Write the shipped files into a directory, and return which are new or were changed.

    Raises:
        ConfigurationError: files there differ, and they may not be overwritten; nothing has been written.
    """
    source = project_dir()
    found = {path: target / path.relative_to(source) for path in _files(source)}
    differing = [mine for theirs, mine in found.items() if not _is_copy(theirs, mine)]
    changed = [str(mine) for mine in differing if mine.exists()]
    if changed and not overwrite:
        raise ConfigurationError(f"these files were changed: {', '.join(changed)}; --force overwrites them")
    try:
        copy_shipped(source, target)
    except OSError as error:
        raise ConfigurationError(f"can't write to {target}: {error.strerror}") from error
    return differing


def _files(source: Path) -> Iterator[Path]:
    for name in SHIPPED:
        path = source / name
        if path.is_file():
            yield path
        else:
            for each in sorted(path.rglob("*")):
                if each.is_file() and not {"node_modules", "__pycache__"} & set(each.parts):
                    yield each


def _is_copy(theirs: Path, mine: Path) -> bool:
    return mine.is_file() and mine.read_bytes() == theirs.read_bytes()
