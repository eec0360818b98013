"""``/healthz``, ``/readyz`` and ``/live/data``: for probes and operators."""

import orjson

from tracker.collect.access.admission import Admission
from tracker.collect.access.local_clients import check_local
from tracker.collect.access.presented_key import query_field
from tracker.collect.api import responses
from tracker.collect.api.readiness import Readiness
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.live.feed import LiveFeed


class OperationsEndpoints:
    """The endpoints for those who run the collector."""

    def __init__(self, admission: Admission, readiness: Readiness, live: LiveFeed) -> None:
        self._admission = admission
        self._readiness = readiness
        self._live = live

    def health(self, _: Request) -> Reply:
        """Say that the process is alive."""
        return Reply.now(responses.json_bytes(b'{"status":"ok"}'))

    def ready(self, _: Request) -> Reply:
        """Say whether events can be accepted now, and if not, why."""
        return Reply.when_done(self._ready())

    def live_data(self, request: Request) -> Reply:
        """Respond with the data of ``/live``: a read key's workspace; without keys all, on this machine only."""
        reader = self._admission.reader(request)
        if reader is None:
            check_local(request)
        workspace = None if reader is None else reader.workspace_id
        response = responses.json_bytes(self._live.data(workspace, query_field(request.query, "session") or ""))
        response.headers.append(("Cache-Control", "no-store"))
        return Reply.now(response)

    async def _ready(self) -> Response:
        return responses.json_bytes(orjson.dumps(await self._readiness.report()))
