"""What a person sees when a command can't do its work: lines on stderr and an exit code, no traceback."""

import traceback
from typing import Any, Final

import typer
from typer.core import TyperGroup

from tracker.errors import TrackerError

#: Packages that only some commands need, and the extra that has them.
EXTRAS: Final = {
    "chdb": "local",
    "honcho": "local",
    "playwright": "demo",
    "pyarrow": "parquet",
    "opentelemetry": "tracing",
}


class Commands(TyperGroup):
    """The root group: turns the errors that we raise on purpose into lines on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        Raises:
            typer.Exit: with 1, after an error of ours has been printed.
        """
        try:
            return super().invoke(ctx)
        except (TrackerError, ValueError) as error:  # pydantic's errors are ValueErrors
            from pydantic import ValidationError

            from tracker.settings import Settings
            from tracker.settings.environment import error_lines

            if not isinstance(error, (TrackerError, ValidationError)):
                raise
            if isinstance(error, ValidationError) and error.title != Settings.__name__:
                raise  # a record, not a setting: a bug of ours
            if ctx.params.get("verbose"):
                traceback.print_exc()
            for line in error_lines(error):
                _say(line)
            raise typer.Exit(1) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = EXTRAS.get(package)
            if extra is None:
                raise
            _say(f"{package} is not installed: pip install 'event-tracker[{extra}]'")
            raise typer.Exit(1) from error


def _say(line: str) -> None:
    typer.echo(f"tracker: {line}", err=True)
