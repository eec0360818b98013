"""``tracker schemas``: the schemas of event types of your own."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Schemas of event types of your own: check them.")

Folder = Annotated[Path | None, typer.Option("--dir", help="The folder. Default: TRACKER_SCHEMAS_DIR.")]


@app.command()
def check(
    *,
    against: Annotated[
        str | None, typer.Option(metavar="GIT_REF", help="What was there at this commit must not have changed.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Check a folder of schemas: all can be used, and no version breaks events of the one before it.

    Exit codes: 0 all is well, 1 it is not; each line says where.

    For example:

      tracker schemas check

      tracker schemas check --dir schemas --against origin/main
    """
    from tracker.cli.options import command_settings
    from tracker.errors import ConfigurationError
    from tracker.schemas.checks import faults_against, faults_of_versions
    from tracker.schemas.files import read_schemas

    place = folder or command_settings().schemas_dir
    if place is None:
        raise ConfigurationError("which folder? Give --dir, or set TRACKER_SCHEMAS_DIR")
    schemas = read_schemas(place)
    faults = list(faults_of_versions(place, schemas))
    if against is not None:
        faults += faults_against(place, schemas, against)
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    types = {each.event_type for each in schemas.documents}
    typer.echo(f"{len(schemas.documents)} schemas of {len(types)} event types: all is well")
