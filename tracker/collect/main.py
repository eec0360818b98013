"""The collector as a process: listens until it is told to stop, then finishes what it has begun."""

import asyncio
import signal
from typing import Final

import structlog
import uvloop
from aiohttp import web

from tracker.collect.app import Collector
from tracker.errors import ConfigurationError
from tracker.settings import Settings

#: A stop waits for the requests under way as long as they may wait for their ack, and this much longer.
SHUTDOWN_GRACE_SECONDS: Final = 5.0
#: How long the rest of a refused body is read and dropped, so that the client gets to see the answer.
LINGERING_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then stop accepting, answer what is under way, flush and return.

    Raises:
        ConfigurationError: if the port can't be listened on.
    """
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        Collector(settings).app(),
        access_log=None,
        shutdown_timeout=settings.collect_ack_timeout_ms / 1000 + SHUTDOWN_GRACE_SECONDS,
        lingering_time=LINGERING_SECONDS,
    )
    await runner.setup()
    try:
        await _listen(runner, settings)
        await stop.wait()
        _log.info("collector_stopping")
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    host, port = settings.collect_host, settings.collect_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        # libuv's own message repeats the address; its reason is enough.
        reason = error.strerror or str(error)
        message = f"can't listen on {host}:{port} ({reason}): set TRACKER_COLLECT_PORT to a free port"
        raise ConfigurationError(message) from None
    _log.info("collector_listening", url=f"http://{host}:{port}", demo=f"http://{host}:{port}/demo")
