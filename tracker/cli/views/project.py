"""What ``tracker project`` shows."""

from collections.abc import Sequence
from pathlib import Path

import typer


class ProjectView:
    """The shipped files."""

    def exported(self, directory: Path, written: Sequence[Path]) -> None:
        """Say which files are new."""
        for path in written:
            typer.echo(str(path))
        typer.echo(f"{len(written)} files written to {directory}", err=True)
