"""Errors as an operator reads them: lines for the terminal or the log, without a traceback."""

from collections.abc import Iterable

from pydantic import SecretStr, ValidationError

from tracker.errors import TrackerError
from tracker.settings import Settings


def error_lines(error: TrackerError | ValidationError) -> Iterable[str]:
    """Yield lines that say an error; a setting is named by its environment variable, and a secret is not shown."""
    if isinstance(error, TrackerError):
        yield str(error) or type(error).__name__
        return
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        field = Settings.model_fields.get(name)
        shown = field is not None and field.annotation is not SecretStr
        got = f" (got {problem['input']!r})" if shown else ""
        yield f"TRACKER_{name.upper()}: {problem['msg']}{got}"
