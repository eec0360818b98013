"""GET a session: from the worker that owns its partition, or from a standby when that one can't answer.

Any worker may be asked. Faust knows which one owns a key; the question is passed on once, with ``asked=owner``. Where
the owner is gone or recovering, a standby of the partition answers instead (``asked=standby``) and says so: its answer
was true, but may not be the latest.
"""

import asyncio
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiokafka import TopicPartition
from yarl import URL

from tracker import clock
from tracker.errors import TrackerError
from tracker.kafka.clients import partition_for_key
from tracker.observe.internal_token import InternalToken
from tracker.process.lease import SessionLease
from tracker.process.recovery import SessionRecovery
from tracker.process.session_view import session_view
from tracker.sessions.rules import Rules
from tracker.streaming.app import ChunkApp
from tracker.table.sessions import SessionName, find_session
from tracker.table.store import SessionStore

RETRY_AFTER_SECONDS: Final = 2
#: How long another worker may take. The collector waits for 3 s in all: two rounds have to fit.
PEER_TIMEOUT_SECONDS: Final = 1.0
#: Workers that are asked for their standby at most, all at once.
MAX_PEERS_ASKED: Final = 16

_OK: Final = 200
_NOT_FOUND: Final = 404


class SessionPages:
    """The page ``/session/{id}``."""

    def __init__(
        self,
        app: ChunkApp,
        *,
        table_name: str,
        source_topic: str,
        partitions: int,
        rules: Rules,
        token: InternalToken,
    ) -> None:
        self._app = app
        self._table_name = table_name
        self._source_topic = source_topic
        self._partitions = partitions
        self._rules = rules
        self._token = token
        #: Set once the router knows where keys belong.
        self.routable = asyncio.Event()
        #: Set once the stores exist; until then no question is answered from one.
        self.recovery: SessionRecovery | None = None

    async def session(self, request: web.Request) -> web.Response:
        """Answer with a session's checkpointed state, from whichever worker can."""
        name = SessionName(request.match_info["id"].encode(), request.query.get("workspace", ""))
        asked = request.query.get("asked", "")
        if asked == "standby":
            return self._standby_answer(name)
        answer = self._own_answer(name)
        if answer is None and not asked:
            answer = await self._passed_on(name)
        return answer or _unavailable("the session's owner is recovering, or not known yet")

    def _own_answer(self, name: SessionName) -> web.Response | None:
        lease = self._app.leases.get(TopicPartition(self._source_topic, self._partition(name.key)))
        if not isinstance(lease, SessionLease):
            return None
        place = {
            "from": "owner",
            "partition": lease.partition,
            "watermark": lease.watermark,
            "stream_time": lease.fold.stream_time_ms,
        }
        return self._view_of(name, lease.store, place) or web.json_response(
            {"error": {"code": "unknown_session", "message": "no such session"}}, status=_NOT_FOUND
        )

    def _standby_answer(self, name: SessionName) -> web.Response:
        """Answer from a standby's store. If the key is not in it, the session may still exist."""
        number = self._partition(name.key)
        store = self.recovery.store(number) if self.recovery is not None else None
        if store is None or self.recovery is None:
            return _unavailable("this worker does not follow the session's partition")
        watermark, mark = store.watermark()
        place = {
            "from": "standby",
            "partition": number,
            "watermark": watermark,
            "stream_time": mark.stream_time_ms,
            "rows_behind": self.recovery.lag_rows(number),
            "staleness_ms": max(0, clock.now_ms() - mark.stream_time_ms),
        }
        try:
            answer = self._view_of(name, store, place)
        except TrackerError:  # it may be rebuilt or reopened at the moment
            answer = None
        return answer or _unavailable("the standby does not know the session")

    def _view_of(self, name: SessionName, store: SessionStore, place: dict[str, Any]) -> web.Response | None:
        found = find_session(store, name)
        if found is None:
            return None
        view = session_view(
            name.key.decode(),
            found.state,
            rules=self._rules,
            now_ms=clock.now_ms(),
            source_offset=found.offset,
            place=place,
        )
        return web.json_response(view)

    async def _passed_on(self, name: SessionName) -> web.Response | None:
        """Ask the owner, then everybody's standby, our own first."""
        if not self.routable.is_set():
            return None
        owner = self._owner(name.key)
        if owner is not None and owner != self._own_url:
            answer = await self._ask(owner, name, "owner")
            if answer is not None:
                return answer
        own = self._standby_answer(name)
        if own.status == _OK:
            return own
        peers = [url for url in self._workers() if url not in (owner, self._own_url)][:MAX_PEERS_ASKED]
        answers = await asyncio.gather(*(self._ask(url, name, "standby") for url in peers))
        return next((answer for answer in answers if answer is not None), None)

    async def _ask(self, worker: str, name: SessionName, asked: str) -> web.Response | None:
        """Ask another worker; None unless it knows."""
        base = URL(f"{worker.rstrip('/')}/session/{quote(name.key, safe='')}", encoded=True)
        url = base.with_query(asked=asked, workspace=name.workspace_id)
        limit = aiohttp.ClientTimeout(total=PEER_TIMEOUT_SECONDS)
        try:
            async with self._app.http_client.get(
                url, timeout=limit, allow_redirects=False, headers=self._token.headers
            ) as answer:
                if answer.status not in (_OK, _NOT_FOUND):
                    return None
                return web.Response(body=await answer.read(), content_type="application/json", status=answer.status)
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _owner(self, key: bytes) -> str | None:
        try:
            return str(self._app.router.key_store(self._table_name, key))
        except KeyError:
            return None

    def _workers(self) -> list[str]:
        return sorted(str(url) for url in self._app.assignor.tables_metadata())

    @property
    def _own_url(self) -> str:
        return str(self._app.conf.canonical_url)

    def _partition(self, key: bytes) -> int:
        return partition_for_key(key, self._partitions)


def _unavailable(why: str) -> web.Response:
    error = {"code": "recovering", "message": f"{why}; try again"}
    return web.json_response({"error": error}, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
