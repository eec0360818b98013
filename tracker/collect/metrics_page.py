"""``/metrics`` on a listener of its own: the collector's port is for the world, its figures are not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tracker.errors import ConfigurationError

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(host: str, port: int, exposition: Callable[[], bytes]) -> AsyncIterator[None]:
    """Serve the figures.

    Raises:
        ConfigurationError: the port can't be listened on.
    """
    app = web.Application()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

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
        message = f"can't listen on {host}:{port} ({reason}): set TRACKER_COLLECT_METRICS_PORT to a free port"
        raise ConfigurationError(message) from None
    _log.info("metrics_listening", url=f"http://{host}:{port}/metrics")
