"""Tinybird over HTTP: one request, one answer. No retries, no opinion on rows; ``delivery`` has both."""

import asyncio
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
from pydantic import SecretStr

from tracker.errors import ConfigurationError, RetryableError
from tracker.tinybird import metrics
from tracker.tinybird.answers import (
    IngestResult,
    TinybirdUnavailable,
    read_answer,
    read_wait,
)
from tracker.tinybird.sql import QueryApi, QueryRefused

REQUEST_TIMEOUT_SECONDS: Final = 60.0
CONNECT_TIMEOUT_SECONDS: Final = 5.0
#: Waits between tries, with jitter; there is no last try.
RETRY_FIRST_WAIT_SECONDS: Final = 0.2
RETRY_MAX_WAIT_SECONDS: Final = 30.0
#: Level 1: three quarters of level 6's gain for a fifth of its time on NDJSON.
GZIP_LEVEL: Final = 1
#: Compressing more than this goes to a thread; zlib lets go of the interpreter meanwhile.
INLINE_GZIP_MAX_BYTES: Final = 32_768
#: Shorter tokens are the local Tinybird's, and would be found in ordinary words.
SECRET_MIN_CHARS: Final = 8

_GZIP_WBITS: Final = 31


@dataclass(frozen=True, slots=True)
class Body:
    """Rows packed for sending, as often as it takes: the same bytes every time."""

    rows: int
    size_bytes: int
    packed: bytes


class EventsApi:
    """Tinybird's Events API and SQL API. Use as an async context manager; connections are kept and shared."""

    def __init__(self, url: str, token: SecretStr, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._token = token.get_secret_value().strip()
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connect_seconds = min(CONNECT_TIMEOUT_SECONDS, self._timeout_seconds)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, connect=connect_seconds),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def append(self, datasource: str, body: Body, heed: Callable[[Mapping[str, str]], None]) -> IngestResult:
        """Append rows, in one request. ``heed`` gets the answer's headers, whatever its status.

        Raises:
            TinybirdUnavailable, RowsTooLarge, RowsRefused, ConfigurationError: see ``answers.read_answer``.
        """
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        params = {"name": datasource, "wait": "true"}
        assert self._session is not None, "use it as an async context manager"  # noqa: S101
        try:
            async with self._session.post(
                f"{self._url}/v0/events",
                params=params,
                headers=headers,
                data=io.BytesIO(body.packed),
                allow_redirects=False,
            ) as answer:
                # Not text(): a proxy's error page in another encoding is no bug of ours.
                text = self._without_secret((await answer.read()).decode(errors="replace"))
        except aiohttp.InvalidURL:
            raise ConfigurationError("TRACKER_TINYBIRD_URL is no address like https://api.tinybird.co") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            metrics.REQUESTS.labels(datasource, "none").inc()
            raise TinybirdUnavailable(f"no answer: {type(error).__name__}") from error
        metrics.REQUESTS.labels(datasource, str(answer.status)).inc()
        heed(answer.headers)
        return read_answer(answer.status, read_wait(answer.headers), text)

    async def query(self, sql: str) -> list[Mapping[str, Any]]:
        """Return the rows that a SELECT finds.

        Raises:
            QueryRefused: the token may not read there.
            RetryableError: not now.
        """
        assert self._session is not None, "use it as an async context manager"  # noqa: S101
        try:
            return await QueryApi(self._url, self._session).select(sql)
        except (RetryableError, QueryRefused) as error:
            raise type(error)(self._without_secret(str(error))) from None

    def _without_secret(self, text: str) -> str:
        """A server that repeats the token in its reason must not bring it into a log."""
        return text if len(self._token) < SECRET_MIN_CHARS else text.replace(self._token, "***")


async def pack(rows: list[bytes]) -> Body:
    """Return rows as gzipped NDJSON."""
    plain = b"\n".join(rows)
    if len(plain) <= INLINE_GZIP_MAX_BYTES:
        return Body(len(rows), len(plain), zlib.compress(plain, GZIP_LEVEL, _GZIP_WBITS))
    return Body(len(rows), len(plain), await asyncio.to_thread(zlib.compress, plain, GZIP_LEVEL, _GZIP_WBITS))
