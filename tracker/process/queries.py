"""GET a session from the worker that owns it. Faust's router finds the owner; the collector forwards here."""

from typing import Any, Final

import aiohttp
from aiokafka import TopicPartition
from faust.types.web import Request, Response, Web
from faust.web.exceptions import ServiceUnavailable
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tracker.kafka import partition_for_key
from tracker.process.lease import SessionLease
from tracker.sessions.state import SessionState, decode_state, offset_of
from tracker.streaming.app import ChunkApp

RETRY_AFTER_SECONDS: Final = 2


def add_pages(app: ChunkApp, table_name: str, source_topic: str, partitions: int) -> None:
    """Register the processor's pages: ``/session/{id}``, ``/healthz`` and ``/metrics``."""
    from faust.exceptions import SameNode  # noqa: PLC0415 - only known once faust has set itself up

    async def session(web: Web, request: Request, **match: Any) -> Response:
        key = match["id"].encode()
        try:
            return await app.router.route_req(table_name, key, web, request)
        except SameNode:
            return _answer(web, key)
        except (ServiceUnavailable, aiohttp.ClientError, TimeoutError):
            return _unavailable(web, "the session's owner is not known yet, or can't be reached")

    def _answer(web: Web, key: bytes) -> Response:
        number = partition_for_key(key, partitions)
        lease = app.leases.get(TopicPartition(source_topic, number))
        if not isinstance(lease, SessionLease):
            return _unavailable(web, "the session's owner is recovering")
        raw = lease.store.get(key)
        if raw is None:
            return web.json({"error": {"code": "unknown_session", "message": "no such session"}}, status=404)
        return web.json(session_view(key.decode(), decode_state(raw), offset_of(raw), lease))

    async def healthz(web: Web, request: Request) -> Response:  # noqa: ARG001 - Faust's signature
        return web.json({"status": "ok", "partitions": len(app.leases.live())})

    async def metrics(web: Web, request: Request) -> Response:  # noqa: ARG001 - Faust's signature
        return web.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.partition(";")[0])

    app.page("/session/{id}", name="session")(session)
    app.page("/healthz", name="healthz")(healthz)
    app.page("/metrics", name="metrics")(metrics)


def _unavailable(web: Web, why: str) -> Response:
    error = {"code": "recovering", "message": f"{why}; try again"}
    return web.json({"error": error}, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def session_view(key: str, state: SessionState, offset: int, lease: SessionLease) -> dict[str, Any]:
    """Return the checkpointed state for people: times in milliseconds of stream time, unless the name says else."""
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
