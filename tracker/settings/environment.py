"""Reads the settings from the environment and ``.env``, and explains mistakes in lines for a person."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from tracker.errors import ConfigurationError, TrackerError
from tracker.settings import Settings

PREFIX: Final = "TRACKER_"
#: Variables of the test suite, which are no settings.
_TESTS_PREFIX: Final = "TRACKER_TEST_"
_ENV_FILE: Final = Path(".env")


def read_settings(**given: Any) -> Settings:
    """Return the settings: the values given here, else from the environment, else from ``.env``, else the defaults.

    Raises:
        ConfigurationError: a variable with our prefix is no setting; names the nearest one.
        pydantic.ValidationError: a value is not valid; ``error_lines`` says which.
    """
    problems = [*_unknown(os.environ, "in the environment"), *_unknown(dotenv_values(_ENV_FILE), f"in {_ENV_FILE}")]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Settings(**given)


def source(field: str) -> str:
    """Say where a setting was set: ``environment``, ``.env`` or ``default``."""
    if any(name.upper() == variable(field) for name in os.environ):
        return "environment"
    return ".env" if any(name.upper() == variable(field) for name in dotenv_values(_ENV_FILE)) else "default"


def variable(field: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{field.upper()}"


def is_secret(field: str) -> bool:
    """Return whether a setting's value must not be shown."""
    return Settings.model_fields[field].annotation is SecretStr


def error_lines(error: TrackerError | ValidationError) -> Iterator[str]:
    """Yield lines that say an error; a setting is named by its environment variable, and a secret is not shown."""
    if isinstance(error, TrackerError):
        yield from (str(error) or type(error).__name__).splitlines()
        return
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name not in Settings.model_fields:  # about several settings together: the message names them
            yield str(problem["msg"]).removeprefix("Value error, ")
            continue
        got = "" if is_secret(name) else f" (got {problem['input']!r})"
        yield f"{variable(name)}: {_message(problem)}{got}; it is the {Settings.model_fields[name].description}"


def _message(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "string_pattern_mismatch":  # a pattern tells a person little; the description follows
        return "the value has a wrong form"
    return str(problem["msg"]).removeprefix("Value error, ")


def _unknown(names: Iterable[str], where: str) -> Iterator[str]:
    known = {variable(field) for field in Settings.model_fields}
    for name in sorted(names):
        upper = name.upper()  # as pydantic-settings does, whose names have no case
        if upper.startswith(PREFIX) and not upper.startswith(_TESTS_PREFIX) and upper not in known:
            nearest = difflib.get_close_matches(upper, known, n=1, cutoff=0)
            yield f"{name} {where} is no setting; the nearest one is {nearest[0]} (tracker settings lists all)"
