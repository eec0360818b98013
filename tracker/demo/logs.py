"""Where the stages' output goes while a person watches rows: into files, all but the errors."""

from pathlib import Path
from typing import BinaryIO, Final

from rich.console import Console
from rich.text import Text

from tracker.local.stack import KAFKA, STAGES, TINYBIRD
from tracker.processes.directories import make_directory
from tracker.processes.supervisor import ChildExited

#: How structlog and the standard library mark what a person should see.
_LOUD: Final = (b"[error", b"[critical", b"[ERROR]", b"[CRITICAL]", b"Traceback (most recent call last)")


class LogFiles:
    """One file per process, begun anew with each run; errors are shown on the console too, once all is up.

    Before that, clients complain about a broker that is still starting; a start that fails ends with its reason.
    """

    def __init__(self, directory: Path, console: Console) -> None:
        make_directory(directory)
        self.directory = directory
        self.is_showing_errors = False
        self._console = console
        self._files: dict[str, BinaryIO] = {
            name: (directory / f"{name}.log").open("wb", buffering=0) for name in (KAFKA, TINYBIRD, *STAGES)
        }

    def write_line(self, name: str, line: bytes) -> None:
        """Take one line of a process's output."""
        self._files[name].write(line)
        if self.is_showing_errors and any(mark in line for mark in _LOUD):
            text = line.decode(errors="replace").rstrip()
            self._console.print(Text(f"{name}: {text}", style="red"), soft_wrap=True)

    def show_end(self, exited: ChildExited) -> None:
        """Show what a process said before it ended, and where the rest is."""
        for line in exited.last_lines:
            self._console.print(Text(f"  {line}", style="dim"), soft_wrap=True)
        self._console.print(f"more in {self.directory / exited.name}.log", markup=False)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
