"""From options to settings: an option that was given wins over the environment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tracker.settings import Settings

DataDir = Annotated[Path | None, typer.Option(help="Local state goes here. \\[TRACKER_DATA_DIR]")]


def load_settings(**overrides: Any) -> Settings:
    """Return the settings, with the options that were given (None: not given) in place of the environment's.

    Raises:
        pydantic.ValidationError: a setting is not valid; ``Commands`` prints which.
    """
    return Settings(**{name: value for name, value in overrides.items() if value is not None})
