"""Maps each answer of Tinybird's Events API to its meaning. The only module that knows its statuses. Pure.

The facts are from Tinybird's public documentation. 200 with wait=true means written; everything else means that the
rows may not be there, and resending them is always safe because they carry derived ids and collapse.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from tracker.errors import ConfigurationError, RejectedError, RetryableError

#: A server can't ask for more patience than this.
RETRY_AFTER_MAX_SECONDS: Final = 120.0
SHOWN_ANSWER_CHARS: Final = 300

_NOT_FOUND_OR_FORBIDDEN: Final = {
    401: "TRACKER_TINYBIRD_TOKEN is missing or unknown",
    403: "TRACKER_TINYBIRD_TOKEN may not append: it needs the scope DATASOURCE:APPEND",
    404: "the datasource does not exist: push tinybird/datasources",
}
_TOO_MANY_REQUESTS: Final = 429
#: 202 is not durable; the others say "later" themselves.
_PASSING: Final = frozenset({202, 408, 425, _TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The outcome that Tinybird reports. Quarantined rows were accepted, but are not in the datasource."""

    successful_rows: int
    quarantined_rows: int


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What an answer says is left of a limit: so many requests, until so many seconds from now."""

    remaining: int
    reset_seconds: float


class TinybirdUnavailable(RetryableError):  # noqa: N818 - the name describes Tinybird
    """Not now: rate limit, server error, time-out or broken connection."""

    def __init__(self, why: str, retry_after_seconds: float | None = None, *, is_throttling: bool = False) -> None:
        super().__init__(why)
        self.retry_after_seconds = retry_after_seconds
        #: It is well, and says that we are too fast.
        self.is_throttling = is_throttling


class RowsTooLarge(RejectedError):  # noqa: N818 - a verdict on the request
    """413: the request has to be split."""


class RowsRefused(RejectedError):  # noqa: N818 - a verdict on the request
    """400 or 422: at least one of the rows can't be taken; the message is Tinybird's own reason."""

    def __init__(self, why: str, *, may_be_written: bool = False) -> None:
        super().__init__(why)
        #: 422: a materialized view failed. The row itself may be in the datasource all the same.
        self.may_be_written = may_be_written


def read_answer(status: int, retry_after: str | None, text: str) -> IngestResult:
    """Turn an answer into a result or an error.

    Raises:
        TinybirdUnavailable: try again, after ``retry_after_seconds`` if it says so.
        RowsTooLarge: split the rows.
        RowsRefused: at least one row can't be taken.
        ConfigurationError: token, datasource or address are wrong; says what to fix.
    """
    shown = text[:SHOWN_ANSWER_CHARS]
    if status == 200:  # noqa: PLR2004 - HTTP's own numbers need no names
        return _result(text)
    if status == 413:  # noqa: PLR2004
        raise RowsTooLarge(shown)
    if status in {400, 422}:
        raise RowsRefused(shown, may_be_written=status == 422)  # noqa: PLR2004
    if status in _NOT_FOUND_OR_FORBIDDEN:
        raise ConfigurationError(f"Tinybird answered {status}: {_NOT_FOUND_OR_FORBIDDEN[status]} ({shown})")
    if status in _PASSING or status >= 500:  # noqa: PLR2004
        throttling = status == _TOO_MANY_REQUESTS
        raise TinybirdUnavailable(f"status {status}: {shown}", _seconds(retry_after), is_throttling=throttling)
    raise ConfigurationError(f"Tinybird answered {status}: is TRACKER_TINYBIRD_URL its address? ({shown})")


def read_wait(headers: Mapping[str, str]) -> str | None:
    """Return the header that says how long to wait, if there is one."""
    return headers.get("Retry-After") or headers.get("X-RateLimit-Reset")


def read_rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return what an answer's headers say is left, or None if they say nothing that makes sense."""
    try:
        remaining, reset = int(headers["X-RateLimit-Remaining"]), float(headers["X-RateLimit-Reset"])
    except (KeyError, ValueError):
        return None
    if remaining < 0 or not math.isfinite(reset) or reset < 0:
        return None
    return RateLimit(remaining, min(reset, RETRY_AFTER_MAX_SECONDS))


def _result(text: str) -> IngestResult:
    try:
        counts = orjson.loads(text)
        return IngestResult(int(counts["successful_rows"]), int(counts["quarantined_rows"]))
    except (ValueError, KeyError, TypeError) as error:
        raise TinybirdUnavailable("status 200, but no row counts") from error


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(seconds, RETRY_AFTER_MAX_SECONDS) if math.isfinite(seconds) and seconds > 0 else None
