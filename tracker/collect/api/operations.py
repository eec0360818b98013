"""``/healthz``, ``/readyz`` and ``/live/data``: for probes and operators."""

import orjson

from tracker.collect.access.admission import Admission
from tracker.collect.access.local_clients import check_local, is_local
from tracker.collect.access.presented_key import query_field
from tracker.collect.api import responses
from tracker.collect.api.readiness import Readiness
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.live.feed import LiveFeed
from tracker.observe.internal_token import InternalToken


class OperationsEndpoints:
    """The endpoints for those who run the collector."""

    def __init__(self, admission: Admission, readiness: Readiness, live: LiveFeed, token: InternalToken) -> None:
        self._admission = admission
        self._readiness = readiness
        self._live = live
        self._token = token

    def health(self, _: Request) -> Reply:
        """Say that the process is alive."""
        return Reply.now(responses.json_bytes(b'{"status":"ok"}'))

    def ready(self, request: Request) -> Reply:
        """Say whether events can be accepted now: yes or no. Operators are told why not, and where events go."""
        return Reply.when_done(self._reasons() if self._is_operator(request) else self._yes_or_no())

    def live_data(self, request: Request) -> Reply:
        """Respond with the data of ``/live``: a read key's workspace; without keys all, on this machine only."""
        reader = self._admission.reader(request)
        if reader is None:
            check_local(request)
        workspace = None if reader is None else reader.workspace_id
        response = responses.json_bytes(self._live.data(workspace, query_field(request.query, "session") or ""))
        response.headers.append(("Cache-Control", "no-store"))
        return Reply.now(response)

    def _is_operator(self, request: Request) -> bool:
        """Return whether a client presents the secret; without one, whether it is on this machine."""
        if self._token.is_set:
            return self._token.is_presented(request.headers.get("Authorization", ""))
        return is_local(request)

    async def _reasons(self) -> Response:
        return responses.json_bytes(orjson.dumps(await self._readiness.report()))

    async def _yes_or_no(self) -> Response:
        try:
            await self._readiness.report()
        except RequestError as error:
            # The reasons may name hosts and directories.
            raise RequestError("not_ready", "events can't be accepted now") from error
        return responses.json_bytes(b'{"status":"ready"}')
