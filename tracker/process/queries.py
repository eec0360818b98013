"""GET a session from the worker that owns it. Faust's router finds the owner; the collector forwards here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from aiokafka import TopicPartition
from faust.exceptions import SameNode
from faust.types.web import Request, Response, Web
from faust.web.exceptions import ServiceUnavailable
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tracker.kafka import partition_for_key
from tracker.process.lease import SessionLease
from tracker.sessions.state import SessionState, decode_state, offset_of
from tracker.streaming.app import ChunkApp

RETRY_AFTER_SECONDS: Final = 2


class SessionPages:
    """The processor's pages: ``/session/{id}``, ``/healthz`` and ``/metrics``."""

    def __init__(
        self, app: ChunkApp, *, table_name: str, source_topic: str, partitions: int, routable: asyncio.Event
    ) -> None:
        """Register the pages. Until ``routable`` is set, the router does not know where keys belong."""
        self._app = app
        self._table_name = table_name
        self._source_topic = source_topic
        self._partitions = partitions
        self._routable = routable
        for path, page in (("/session/{id}", self.session), ("/healthz", self.healthz), ("/metrics", self.metrics)):
            app.page(path, name=page.__name__)(_view(page))

    async def session(self, web: Web, request: Request, id: str) -> Response:  # noqa: A002 - the path's own name
        """Answer with a session's checkpointed state, from whichever worker owns it."""
        if not self._routable.is_set():
            return _unavailable(web, "the worker is starting")
        key = id.encode()
        try:
            return await self._app.router.route_req(self._table_name, key, web, request)
        except SameNode:
            return self._own_answer(web, key)
        except (ServiceUnavailable, aiohttp.ClientError, TimeoutError):
            return _unavailable(web, "the session's owner is not known yet, or can't be reached")

    def _own_answer(self, web: Web, key: bytes) -> Response:
        number = partition_for_key(key, self._partitions)
        lease = self._app.leases.get(TopicPartition(self._source_topic, number))
        if not isinstance(lease, SessionLease):
            return _unavailable(web, "the session's owner is recovering")
        raw = lease.store.get(key)
        if raw is None:
            return web.json({"error": {"code": "unknown_session", "message": "no such session"}}, status=404)
        return web.json(session_view(key.decode(), decode_state(raw), offset_of(raw), lease))

    async def healthz(self, web: Web, request: Request) -> Response:  # noqa: ARG002 - Faust's signature
        """Say that the process lives, and how many partitions it may fold."""
        return web.json({"status": "ok", "partitions": len(self._app.leases.live())})

    async def metrics(self, web: Web, request: Request) -> Response:  # noqa: ARG002 - Faust's signature
        """Answer Prometheus."""
        return web.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.partition(";")[0])


def _view(page: Callable[..., Awaitable[Response]]) -> Any:
    """Wrap a bound method in a function: Faust sets attributes on a page, which a method does not take."""

    async def view(web: Web, request: Request, **match: str) -> Response:
        return await page(web, request, **match)

    return view


def _unavailable(web: Web, why: str) -> Response:
    error = {"code": "recovering", "message": f"{why}; try again"}
    return web.json({"error": error}, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def session_view(key: str, state: SessionState, offset: int, lease: SessionLease) -> dict[str, Any]:
    """Return the checkpointed state for people. Times are milliseconds of stream time."""
    return {
        "session_id": state.session_id,
        "session_key": key,
        **state.context,
        "event_sequence": state.sequence,
        "created_at_ms": state.created_ms,
        "last_activity_ms": state.last_activity_ms,
        "session_timeout_seconds": state.timeout_ms // 1000,
        "deadline_ms": state.deadline_ms(lease.rules) if state.is_open else state.closed_ms,
        "is_expired": not state.is_open,
        "close_reason": state.close_reason,
        "partition": lease.partition,
        "source_offset": offset,
        "watermark": lease.watermark,
    }
