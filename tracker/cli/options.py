"""From options to settings: an option that was given wins over the environment."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.errors import ConfigurationError

if TYPE_CHECKING:
    from tracker.settings import Settings

DataDir = Annotated[Path | None, typer.Option(help="Local state goes here. \\[TRACKER_DATA_DIR]")]


def load_settings(**overrides: Any) -> "Settings":
    """Return the settings. Options that were given (not None) override the environment.

    Raises:
        ConfigurationError: a variable is no setting.
        pydantic.ValidationError: a setting is not valid; ``Commands`` prints which.
    """
    from tracker.settings.environment import read_settings

    return read_settings(**{name: value for name, value in overrides.items() if value is not None})


def command_settings(**overrides: Any) -> "Settings":
    """Return the settings for a command that a person waits for. Its logs go to stderr, from warnings on.

    Kafka's client is silent: we report errors once.

    Raises:
        ConfigurationError: a variable is no setting.
        pydantic.ValidationError: a setting is not valid.
    """
    from tracker.observe.logs import configure_logging, hush_kafka_client

    settings = load_settings(**overrides)
    configure_logging(settings, least=logging.WARNING)
    hush_kafka_client()
    return settings


def time_ms(text: str | None) -> int | None:
    """Return a time that was given as an option, in milliseconds since the epoch.

    Raises:
        ConfigurationError: it is not a time.
    """
    from tracker.replay.planner import read_time_ms

    if text is None:
        return None
    found = read_time_ms(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is no time; write it as 2026-11-24T03:00Z")
    return found
