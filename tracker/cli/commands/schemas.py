"""``tracker schemas``: the schemas of event types of your own."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Schemas of event types of your own: begin, check and use them.")

Folder = Annotated[Path | None, typer.Option("--dir", help="The folder. Default: TRACKER_SCHEMAS_DIR.")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The event type, in snake_case.")],
    *,
    example: Annotated[
        Path, typer.Option("--from", metavar="EVENT.json", help="An event with properties, or its properties alone.")
    ],
    folder: Folder = None,
) -> None:
    """Begin the schema of an event type from an example of its events, as version 1-0-0.

    Each property of the example is required, and there are no others: loosen it before you release it.

    For example:

      tracker schemas new purchase --from purchase.json --dir schemas
    """
    from tracker.schemas.first_schema import write_first_schema

    path = write_first_schema(_folder(folder), name, example)
    typer.echo(f"{path}: look through it, then run tracker schemas check")


@app.command()
def build(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")],
    folder: Folder = None,
) -> None:
    """Make what others need of your schemas: columns, types for the clients, parts of the API documents.

    A Tinybird pipe for each type, TypeScript for pages and the Node client, Python for the Python client, and
    components for the AsyncAPI and OpenAPI documents. The same schemas always give the same files.

    For example:

      tracker schemas build --out own-events
    """
    from tracker.schemas.build import write
    from tracker.schemas.files import read_schemas

    for path in write(read_schemas(_folder(folder)), out):
        typer.echo(str(path))


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
    from tracker.schemas.checks import faults_against, faults_of_versions
    from tracker.schemas.files import read_schemas

    place = _folder(folder)
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


def _folder(given: Path | None) -> Path:
    from tracker.cli.options import command_settings
    from tracker.errors import ConfigurationError

    folder = given or command_settings().schemas_dir
    if folder is None:
        raise ConfigurationError("which folder? Give --dir, or set TRACKER_SCHEMAS_DIR")
    return folder
