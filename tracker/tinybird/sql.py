"""Tinybird's query API: SELECTs over HTTP."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
from pydantic import SecretStr

from tracker.errors import RejectedError, RetryableError
from tracker.tinybird.answers import SHOWN_ANSWER_CHARS

QUERY_TIMEOUT_SECONDS: Final = 20.0
#: Of an error's text only this much is shown.
_REFUSALS: Final = frozenset({400, 401, 403, 404})


class QueryRefused(RejectedError):  # noqa: N818 - a verdict on the query
    """The token may not read there, or Tinybird can't answer the query: the same query is refused again."""


class QueryApi:
    """The query API of one Tinybird workspace."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = f"{url}/v0/sql"
        self._http = http

    async def select(self, query: str) -> list[Mapping[str, Any]]:
        """Return the rows of a SELECT (without FORMAT).

        Raises:
            QueryRefused: Tinybird refuses the query.
            RetryableError: Tinybird can't be reached, or not now.
        """
        rows: list[Mapping[str, Any]] = orjson.loads(await self._ask(query, "JSON"))["data"]
        return rows

    async def lines(self, query: str) -> list[bytes]:
        """Return the rows of a SELECT (without FORMAT) as JSON objects, as they go into the Events API.

        Raises:
            QueryRefused: Tinybird refuses the query.
            RetryableError: Tinybird can't be reached, or not now.
        """
        return (await self._ask(query, "JSONEachRow")).splitlines()

    async def _ask(self, query: str, output_format: str) -> bytes:
        try:
            async with self._http.post(self._url, data=f"{query} FORMAT {output_format}") as response:
                if response.status != 200:  # noqa: PLR2004 - OK
                    text = (await response.text())[:SHOWN_ANSWER_CHARS]
                    kind = QueryRefused if response.status in _REFUSALS else RetryableError
                    raise kind(f"{self._url} answers {response.status}: {text}")
                return await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RetryableError(f"{self._url} can't be reached: {error}") from error


@asynccontextmanager
async def open_query_api(
    url: str, token: SecretStr, timeout_seconds: float = QUERY_TIMEOUT_SECONDS
) -> AsyncIterator[QueryApi]:
    """Yield the query API at an address, with its own connections."""
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield QueryApi(url, http)


def quoted(text: str) -> str:
    """Return a string literal of ClickHouse's SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
