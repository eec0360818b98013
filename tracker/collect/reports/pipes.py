"""Queries Tinybird's pipes with the read token. Tinybird's error messages go to the log, never to the client."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
import structlog

from tracker.collect.errors import RequestError
from tracker.collect.reports.parameters import ReportQuery
from tracker.settings import Settings

#: How long a report may take, the wait for a connection included.
REPORT_TIMEOUT_SECONDS: Final = 30.0
#: Pipes that are asked at the same time; further reports wait for one, within the timeout.
MAX_REPORT_CONNECTIONS: Final = 4
#: Reports that wait or are asked; more are answered 503 at once.
MAX_REPORTS_UNDER_WAY: Final = 64
MAX_REPORT_BYTES: Final = 8_000_000
#: Of Tinybird's text about a fault only this much is logged.
LOGGED_CHARS: Final = 300

log = structlog.get_logger()


class ReportPipes:
    """The pipes of one Tinybird workspace."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._base = f"{settings.tinybird_url}/v0/pipes/"
        self._headers = {"Authorization": f"Bearer {settings.tinybird_reader.get_secret_value()}"}
        #: Who does not count is the deployment's to say, not the request's.
        self._internal = {
            "internal_networks": settings.reports_internal_networks,
            "internal_users": settings.reports_internal_users,
            "internal_environments": settings.reports_internal_environments,
        }
        self._http = http
        self._under_way = 0

    async def rows(self, query: ReportQuery, workspace_id: str) -> list[Any]:
        """Return the rows of a report about a workspace.

        Raises:
            RequestError: ``invalid``, ``overloaded``, or ``tinybird_unavailable``.
        """
        if self._under_way >= MAX_REPORTS_UNDER_WAY:
            raise RequestError("overloaded", "too many reports at once")
        self._under_way += 1
        try:
            status, body = await self._ask(
                query.report, {**query.parameters, **self._internal, "workspace_id": workspace_id}
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("a report was not made: Tinybird does not answer", report=query.report, error=repr(error))
            raise RequestError("tinybird_unavailable", "Tinybird does not answer") from error
        finally:
            self._under_way -= 1
        if status == HTTPStatus.OK:
            rows: list[Any] = orjson.loads(body)["data"]
            return rows
        text = body[:LOGGED_CHARS].decode(errors="replace")
        log.warning("a report was not made: Tinybird refuses", report=query.report, status=status, text=text)
        if status == HTTPStatus.BAD_REQUEST:
            raise RequestError("invalid", "Tinybird can't make this report; the collector's log says why")
        message = f"Tinybird answers {status}: are the pipes there, and may TRACKER_TINYBIRD_READ_TOKEN read them?"
        raise RequestError("tinybird_unavailable", message)

    async def _ask(self, report: str, parameters: Mapping[str, str]) -> tuple[int, bytes]:
        address = f"{self._base}{report}.json"
        async with self._http.get(address, params=parameters, headers=self._headers, allow_redirects=False) as answer:
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MAX_REPORT_BYTES:
                    raise aiohttp.ClientPayloadError(f"a report has at most {MAX_REPORT_BYTES} bytes")
            return answer.status, bytes(body)


def new_report_session() -> aiohttp.ClientSession:
    """Return the client that reports use; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=REPORT_TIMEOUT_SECONDS),
        connector=aiohttp.TCPConnector(limit=MAX_REPORT_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
