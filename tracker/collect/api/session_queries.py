"""Questions about a session go to the processor: any worker passes them on to the session's owner."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from tracker.collect.errors import RETRY_AFTER_SECONDS, RequestError
from tracker.observe.internal_token import InternalToken
from tracker.settings import Settings

#: How long the processor may take, connection included.
QUERY_TIMEOUT_SECONDS: Final = 3.0
#: Connections to the processor at most; further questions wait for one, within the timeout.
MAX_QUERY_CONNECTIONS: Final = 64


class SessionQueries:
    """Forwards questions about sessions."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._base = settings.processor_url + "/session/"
        self._http = http
        self._headers = InternalToken.of(settings).headers

    async def state(self, session_id: str, workspace_id: str | None) -> bytes:
        """Return the session's state as the JSON that its owner gave.

        With a workspace, it is that workspace's session under this id; another's is answered in every respect like one
        that does not exist. Without, it is the session of the first workspace that has used the id.

        Raises:
            RequestError: ``unknown_session``, or ``processor_unavailable`` with the time to wait.
        """
        url = URL(self._base + quote(session_id, safe=""), encoded=True)
        if workspace_id is not None:
            url = url.with_query(workspace=workspace_id)
        try:
            async with self._http.get(url, allow_redirects=False, headers=self._headers) as answer:
                body = await answer.read()
                status, retry_after = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unavailable("the processor does not answer", str(RETRY_AFTER_SECONDS)) from error
        if status == HTTPStatus.OK:
            if workspace_id is None or orjson.loads(body).get("workspace_id") == workspace_id:
                return body
            status = HTTPStatus.NOT_FOUND
        if status == HTTPStatus.NOT_FOUND:
            raise RequestError("unknown_session", "no session has this id")
        if status == HTTPStatus.UNAUTHORIZED:
            raise _unavailable("the processor has another TRACKER_INTERNAL_TOKEN than this collector", retry_after)
        raise _unavailable("the session's owner can't answer now", retry_after)


def new_http_session() -> aiohttp.ClientSession:
    """Return the client that queries use; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=QUERY_TIMEOUT_SECONDS),
        connector=aiohttp.TCPConnector(limit=MAX_QUERY_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _unavailable(message: str, retry_after: str) -> RequestError:
    seconds = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else RETRY_AFTER_SECONDS
    return RequestError("processor_unavailable", message, retry_after_seconds=seconds)
