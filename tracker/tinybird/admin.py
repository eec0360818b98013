"""Deleting rows through Tinybird's data source API: a job that is started, then waited for.

``POST /v0/datasources/NAME/delete`` with a condition in SQL; the job's state is at ``/v0/jobs/ID``. Facts from
Tinybird's public documentation. The token needs the scope DATASOURCES:CREATE.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from pydantic import SecretStr

from tracker.errors import RetryableError
from tracker.tinybird.answers import SHOWN_ANSWER_CHARS
from tracker.tinybird.events_api import REQUEST_TIMEOUT_SECONDS

JOB_TIMEOUT_SECONDS: Final = 3_600.0
JOB_POLL_SECONDS: Final = 0.5


class DatasourceAdmin:
    """Deletes rows. A second deletion of the same rows changes nothing, so every call may be repeated."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._http = http

    async def delete_rows(self, datasource: str, condition: str) -> None:
        """Delete the rows that a condition holds for, and return when it has been done.

        Raises:
            RetryableError: Tinybird can't be reached, refuses, or the job failed or took too long.
        """
        form = {"delete_condition": condition}
        answer = await self._json("POST", f"/v0/datasources/{datasource}/delete", data=form)
        job_id = str(answer.get("job_id") or answer.get("id") or "")
        try:
            async with asyncio.timeout(JOB_TIMEOUT_SECONDS):
                while (job := await self._json("GET", f"/v0/jobs/{job_id}")).get("status") != "done":
                    if job.get("status") == "error":
                        raise RetryableError(
                            f"deleting from {datasource} failed: {job.get('error', 'no reason given')}"
                        )
                    await asyncio.sleep(JOB_POLL_SECONDS)
        except TimeoutError:
            raise RetryableError(f"deleting from {datasource} took over {JOB_TIMEOUT_SECONDS:.0f} s") from None

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            async with self._http.request(method, self._url + path, **options) as answer:
                if answer.status >= 400:  # noqa: PLR2004 - HTTP's own border of errors
                    text = (await answer.text())[:SHOWN_ANSWER_CHARS]
                    raise RetryableError(f"Tinybird answers {answer.status} to {method} {path}: {text}")
                found: dict[str, Any] = await answer.json(content_type=None)
                return found
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RetryableError(f"Tinybird can't be reached: {error}") from error


@asynccontextmanager
async def open_datasource_admin(url: str, token: SecretStr) -> AsyncIterator[DatasourceAdmin]:
    """Yield the data source API at an address, with its own connections."""
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield DatasourceAdmin(url, http)
