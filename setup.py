"""Builds the wheel: ``topics`` goes into ``tracker.topics``, and the project's files into ``tracker/project/files``.

The top-level folder ``topics`` is the contract with other services, so it stands at the top of the repository. A wheel
with a top-level package of that name would clash with others' (docs/decisions/0021).
"""

import re
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))
from tracker.project.files import copy_shipped  # noqa: E402 - a build is not started from here

IMPORT = re.compile(r"^(\s*)from topics\b", re.MULTILINE)


class BuildPackage(build_py):
    """Moves ``topics``, and copies the files that users push, change or import."""

    def run(self) -> None:
        """Build, unless the installation is editable: then all is used where it lies."""
        super().run()
        if self.editable_mode:
            return
        built = Path(self.build_lib)
        shutil.rmtree(built / "tracker" / "topics", ignore_errors=True)
        (built / "topics").rename(built / "tracker" / "topics")
        for path in built.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            path.write_text(IMPORT.sub(r"\1from tracker.topics", text), encoding="utf-8")
        copy_shipped(ROOT, built / "tracker" / "project" / "files")


setup(cmdclass={"build_py": BuildPackage})
