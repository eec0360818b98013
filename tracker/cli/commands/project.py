"""``tracker project``: the files that come with the package, for you to push, import or change."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Tinybird's files, dashboards, alerts, SDK and examples.")


@app.callback()
def project() -> None:
    """Get the files that come with the package."""


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where to; it is made if it is missing.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that you have changed.")] = False,
) -> None:
    """Write Tinybird's datasources and pipes, dashboards, alerts, the SDK and examples into a directory.

    Example: tracker project export tracker-project && cd tracker-project/tinybird && tb --cloud deploy
    """
    from tracker.cli.views.project import ProjectView
    from tracker.project.files import export as write

    ProjectView().exported(directory, write(directory, overwrite=force))
