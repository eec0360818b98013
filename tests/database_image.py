"""What a killed process leaves of a RocksDB: its files as they are at one moment, an unclosed log included."""

import shutil
from pathlib import Path


def copy_image(source: Path, target: Path) -> None:
    """Copy a directory with databases while they are open; again if RocksDB has tidied up meanwhile."""
    while True:
        before = _files(source)
        try:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("LOCK"))
        except shutil.Error:
            pass
        else:
            if _files(source) == before:
                return
        shutil.rmtree(target)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))
