"""The collector as a process: it listens until it is told to stop, and then finishes its requests."""

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from tracker.collect.api.tracing import traced
from tracker.collect.app import Collector
from tracker.collect.http.server import HttpServer
from tracker.collect.run.exposure import check_exposure
from tracker.collect.run.metrics_page import serving_metrics
from tracker.observe.pages import cant_listen
from tracker.observe.tracing import tracing_of
from tracker.processes.garbage_collection import look_for_cycles_rarely
from tracker.processes.signals import stop_event
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

#: A stop waits for the requests under way as long as they may wait for their ack, and this much longer.
SHUTDOWN_GRACE_SECONDS: Final = 5.0
#: A child accepts once it has Kafka, so that a restart sends nothing through the spill; but it waits no longer.
KAFKA_WAIT_SECONDS: Final = 5.0

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then stop accepting, finish the requests, flush and return.

    Raises:
        ConfigurationError: the port can't be listened on, or must not be without keys.
    """
    check_exposure(settings)
    raise_open_files_limit()
    uvloop.run(_serve(settings, (), None))


def serve(settings: Settings, sockets: Sequence[socket.socket], on_ready: Callable[[], None]) -> None:
    """Serve on sockets that listen already; call ``on_ready`` once requests are accepted."""
    raise_open_files_limit()
    uvloop.run(_serve(settings, sockets, on_ready))


async def _serve(settings: Settings, sockets: Sequence[socket.socket], on_ready: Callable[[], None] | None) -> None:
    stop = stop_event()
    # Without a handler SIGHUP would end the process in the middle of its requests.
    refused = "SIGHUP is ignored: run with --processes to restart by SIGHUP"
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, log.warning, refused)
    async with tracing_of(settings, "collect") as tracing:
        await _serve_until(stop, settings, tracing, sockets, on_ready)


async def _serve_until(
    stop: asyncio.Event,
    settings: Settings,
    tracing: "Tracing | None",
    sockets: Sequence[socket.socket],
    on_ready: Callable[[], None] | None,
) -> None:
    """Serve until ``stop`` is set.

    Raises:
        Exception: the error of a background task that failed for good.
    """
    collector = Collector(settings) if tracing is None else Collector(settings, tracing.record_headers)
    handle = collector.handle if tracing is None else traced(collector.handle, collector.routes.pattern, tracing)
    server = HttpServer(
        handle,
        limits=collector.connection_limits(),
        max_body_bytes=settings.collect_max_body_bytes,
        on_refused=collector.count_refused,
    )
    tasks = SupervisedTasks(on_failure=collector.metrics.count_task_failure)
    await collector.start(tasks)
    tasks.loop("connection times", server.sweep)
    look_for_cycles_rarely()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_stop, server, collector, tasks, settings)
        if on_ready is None:
            await _listen(server, settings)
            await stack.enter_async_context(serving_metrics(collector.metrics.exposition, settings))
        else:  # the parent shows the metrics of all
            await collector.until_direct(KAFKA_WAIT_SECONDS)
            for bound in sockets:
                await server.listen("", 0, sock=bound)
            on_ready()
        await tasks.until(stop)
        log.info("collector stopping")
    if tasks.failed.done():
        tasks.failed.result()


async def _stop(server: HttpServer, collector: Collector, tasks: SupervisedTasks, settings: Settings) -> None:
    await server.stop(settings.collect_ack_timeout_ms / 1000 + SHUTDOWN_GRACE_SECONDS)
    await collector.stop()
    await tasks.stop()


async def _listen(server: HttpServer, settings: Settings) -> None:
    host, port = settings.collect_host, settings.collect_port
    try:
        await server.listen(host, port)
    except OSError as error:
        raise cant_listen(host, port, error, "TRACKER_COLLECT_PORT") from None
    log.info("collector listening", url=f"http://{host}:{port}", demo=f"http://{host}:{port}/demo")


def raise_open_files_limit() -> None:
    """Allow as many open files as the system permits: each connection is one, and the usual default is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
