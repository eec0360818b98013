"""A client of Tinybird's Events API: NDJSON, gzip, ``wait=true``, and an opinion on each of its answers.

The API's facts are from Tinybird's public documentation. 200 with wait=true means written; everything else means the
rows may not be there, and resending them is always safe because they carry derived ids and collapse.
"""

import asyncio
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
import orjson
import stamina
import structlog

from tracker.errors import ConfigurationError, RetryableError, TrackerError
from tracker.settings import Settings
from tracker.sink import metrics

log = structlog.get_logger()

REQUEST_TIMEOUT_SECONDS: Final = 60.0
CONNECT_TIMEOUT_SECONDS: Final = 5.0
RETRY_FIRST_WAIT_SECONDS: Final = 0.2
RETRY_MAX_WAIT_SECONDS: Final = 30.0
RETRY_AFTER_MAX_SECONDS: Final = 120.0
#: Level 1: three quarters of level 6's gain for a fifth of its time on NDJSON.
GZIP_LEVEL: Final = 1
#: Compressing more than this goes to a thread; zlib lets go of the interpreter meanwhile.
INLINE_GZIP_MAX_BYTES: Final = 32_768
ANSWER_SHOWN_CHARS: Final = 300
#: Shorter tokens are the local Tinybird's, and would be found in ordinary words.
SECRET_MIN_CHARS: Final = 8

_GZIP_WBITS: Final = 31
_NOT_FOUND_OR_FORBIDDEN: Final = {
    401: "TRACKER_TINYBIRD_TOKEN is missing or unknown",
    403: "TRACKER_TINYBIRD_TOKEN may not append: it needs the scope DATASOURCE:APPEND",
    404: "the datasource does not exist: push tinybird/datasources",
}
#: 202 is not durable; the others say "later" themselves.
_PASSING: Final = frozenset({202, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What Tinybird says it did. Quarantined rows were taken, but not into the datasource."""

    successful_rows: int
    quarantined_rows: int


class TinybirdUnavailable(RetryableError):  # noqa: N818 - named for what it says of Tinybird
    """Not now: rate limit, server error, time-out or broken connection."""

    def __init__(self, why: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_seconds = retry_after_seconds


class RowsTooLarge(TrackerError):  # noqa: N818 - a verdict on the request
    """413: the request has to be split."""


class RowsRefused(TrackerError):  # noqa: N818 - a verdict on the request
    """400 or 422: at least one of the rows can't be taken; the message is Tinybird's own reason."""


class TinybirdClient:
    """Appends rows to datasources. Use as an async context manager; safe for concurrent calls."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"{settings.tinybird_url.rstrip('/')}/v0/events"
        self._token = settings.tinybird_token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            headers={
                "Authorization": f"Bearer {self._token.get_secret_value().strip()}",
                "Content-Type": "application/x-ndjson",
                "Content-Encoding": "gzip",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ingest(self, datasource: str, rows: Sequence[bytes]) -> IngestResult:
        """Append JSON rows and return once they are written; retries what passes, without end.

        Raises:
            RowsTooLarge: split the rows.
            RowsRefused: at least one row can't be taken.
            ConfigurationError: token or datasource are wrong; says what to fix.
        """
        body = await _compress(b"\n".join(rows))
        async for attempt in stamina.retry_context(
            on=_wait_for,
            attempts=None,
            timeout=None,
            wait_initial=RETRY_FIRST_WAIT_SECONDS,
            wait_max=RETRY_MAX_WAIT_SECONDS,
        ):
            with attempt:
                result = await self._post(datasource, body)
                if result.successful_rows + result.quarantined_rows != len(rows):
                    # Resending is safe, rows that are there collapse; committing would lose the others.
                    raise TinybirdUnavailable(f"{len(rows)} rows sent, but the answer counts {result}")
                return result
        raise AssertionError("unreachable: retries have no end")

    async def _post(self, datasource: str, body: bytes) -> IngestResult:
        assert self._session is not None, "use the client as an async context manager"  # noqa: S101
        params = {"name": datasource, "wait": "true"}
        try:
            async with self._session.post(self._url, params=params, data=body, allow_redirects=False) as answer:
                # Not text(): a proxy's error page in another encoding is no bug of ours.
                text = self._without_secret((await answer.read()).decode(errors="replace"))
                metrics.REQUESTS.labels(datasource, str(answer.status)).inc()
                wait = answer.headers.get("Retry-After") or answer.headers.get("X-RateLimit-Reset")
                return read_answer(answer.status, wait, text)
        except aiohttp.InvalidURL:
            raise ConfigurationError("TRACKER_TINYBIRD_URL is no address like https://api.tinybird.co") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            metrics.REQUESTS.labels(datasource, "none").inc()
            raise TinybirdUnavailable(f"no answer: {type(error).__name__}") from error

    def _without_secret(self, text: str) -> str:
        """A server that repeats the token in its reason must not bring it into a log."""
        token = self._token.get_secret_value().strip()
        return text if len(token) < SECRET_MIN_CHARS else text.replace(token, "***")


def read_answer(status: int, retry_after: str | None, text: str) -> IngestResult:
    """Turn an answer into a result or an error. The one place that knows what Tinybird's statuses mean."""
    shown = text[:ANSWER_SHOWN_CHARS]
    if status == 200:  # noqa: PLR2004 - HTTP's own numbers need no names
        return _result(text)
    if status == 413:  # noqa: PLR2004
        raise RowsTooLarge(shown)
    if status in {400, 422}:
        raise RowsRefused(shown)
    if status in _NOT_FOUND_OR_FORBIDDEN:
        raise ConfigurationError(f"Tinybird answered {status}: {_NOT_FOUND_OR_FORBIDDEN[status]} ({shown})")
    if status in _PASSING or status >= 500:  # noqa: PLR2004
        raise TinybirdUnavailable(f"status {status}: {shown}", _seconds(retry_after))
    raise ConfigurationError(f"Tinybird answered {status}: is TRACKER_TINYBIRD_URL its address? ({shown})")


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


def _wait_for(error: Exception) -> bool | float:
    if not isinstance(error, TinybirdUnavailable):
        return False
    log.warning("Tinybird can't take rows now; they stay in Kafka and are tried again", why=str(error))
    return error.retry_after_seconds or True


async def _compress(body: bytes) -> bytes:
    if len(body) <= INLINE_GZIP_MAX_BYTES:
        return zlib.compress(body, GZIP_LEVEL, _GZIP_WBITS)
    return await asyncio.to_thread(zlib.compress, body, GZIP_LEVEL, _GZIP_WBITS)
