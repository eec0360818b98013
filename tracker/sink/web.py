"""The sink's pages for those who run it: ``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tracker.errors import ConfigurationError
from tracker.sink.circuit import State

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DatasourceHealth:
    """How one datasource does."""

    name: str
    circuit: State
    held_bytes: int


@dataclass(frozen=True, slots=True)
class Health:
    """How the sink does."""

    has_joined: bool
    partitions: int
    datasources: Sequence[DatasourceHealth]

    @property
    def problems(self) -> list[str]:
        """What keeps rows from being written, for people; empty if nothing does."""
        joining = [] if self.has_joined else ["the consumer group has not given partitions yet"]
        return joining + [f"Tinybird fails for {one.name}" for one in self.datasources if one.circuit == "open"]


@asynccontextmanager
async def serving(host: str, port: int, health: Callable[[], Health]) -> AsyncIterator[None]:
    """Serve the pages.

    Raises:
        ConfigurationError: the port can't be listened on.
    """
    app = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "partitions": health().partitions})

    async def readyz(_: web.Request) -> web.Response:
        found = health()
        return web.json_response(_page(found), status=503 if found.problems else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        # libuv's own message repeats the address; its reason is enough.
        reason = error.strerror or str(error)
        message = f"can't listen on {host}:{port} ({reason}): set TRACKER_SINK_PORT to a free port"
        raise ConfigurationError(message) from None
    log.info("sink listening", url=f"http://{host}:{port}")


def _page(health: Health) -> dict[str, Any]:
    return {
        "status": "unavailable" if health.problems else "ready",
        "problems": health.problems,
        "partitions": health.partitions,
        "datasources": {one.name: {"circuit": one.circuit, "held_bytes": one.held_bytes} for one in health.datasources},
    }
