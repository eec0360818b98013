"""What a person sees when a command can't do its work: lines on stderr and an exit code, no traceback."""

import traceback
from collections.abc import Iterable
from typing import Any

import typer
from pydantic import SecretStr, ValidationError
from typer.core import TyperGroup

from tracker.errors import TrackerError
from tracker.settings import Settings


class Commands(TyperGroup):
    """The root group: turns the errors that we raise on purpose into lines on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        Raises:
            typer.Exit: with 1, after an error of ours has been printed.
        """
        try:
            return super().invoke(ctx)
        except (TrackerError, ValidationError) as error:
            if isinstance(error, ValidationError) and error.title != Settings.__name__:
                raise  # a record, not a setting: a bug of ours
            if ctx.params.get("verbose"):
                traceback.print_exc()
            for line in explain(error):
                typer.echo(f"tracker: {line}", err=True)
            raise typer.Exit(1) from error


def explain(error: TrackerError | ValidationError) -> Iterable[str]:
    """Say an error in lines for a person; settings are named by their environment variable."""
    if isinstance(error, TrackerError):
        yield str(error) or type(error).__name__
        return
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        field = Settings.model_fields.get(name)
        shown = field is not None and field.annotation is not SecretStr
        got = f" (got {problem['input']!r})" if shown else ""
        yield f"TRACKER_{name.upper()}: {problem['msg']}{got}"
