"""The ``tracker`` command: its groups, its version, its global option."""

from typing import Annotated

import typer

from tracker.cli.commands import (
    capacity,
    dead_letters,
    health,
    migration,
    project,
    schemas,
    sdk,
    session,
    settings,
    stack,
    stages,
    topics,
)
from tracker.cli.commands.log import imports, replay, skip, verify
from tracker.cli.errors import Commands

app = typer.Typer(
    name="tracker",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a bug's traceback goes to a log as often as to a terminal
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(topics.app, name="topics")
app.add_typer(stages.local, name="local")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(replay.app, name="replay")
app.add_typer(migration.app, name="migration")
app.add_typer(project.app, name="project")
app.add_typer(schemas.app, name="schemas")
app.add_typer(sdk.app, name="sdk")
app.command(hidden=True)(replay.replay_worker)
app.command(name="import")(imports.import_)
for command in (
    stages.collect,
    stages.process,
    stages.sink,
    stack.dev,
    stack.demo,
    session.session,
    verify.verify,
    skip.skip,
    settings.settings,
    health.health,
    capacity.capacity,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer gives it so
    if wanted:
        from importlib.metadata import version as installed_version

        typer.echo(f"tracker {installed_version('event-tracker')}")
        raise typer.Exit


@app.callback()
def tracker(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the installed version.")
    ] = False,
    verbose: Annotated[  # Commands reads it from the context
        bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """An event tracker on Kafka: every event numbered 1, 2, 3 … within its session, without a gap.

    Settings come from the environment (TRACKER_…) or a .env file; options override them.

    For example:

      tracker demo                    the whole thing on this machine, and what arrives, live

      tracker topics create           make the topics on TRACKER_KAFKA_BOOTSTRAP

      tracker collect --port 8080     one stage, in the foreground
    """


@app.command()
def version() -> None:
    """Print the installed version.

    Example: tracker version
    """
    _print_version(wanted=True)
