"""Runs the local Tinybird: ``tracker local tinybird``."""

import asyncio
from typing import Final

import structlog
from aiohttp import web

from tracker.datasources.files import read_datasources
from tracker.local.ports import local_port, require_free_port
from tracker.local.tinybird.database import Database
from tracker.local.tinybird.pipes import read_pipes
from tracker.local.tinybird.server import Server
from tracker.processes.signals import stop_event
from tracker.project.files import tinybird_dir
from tracker.settings import Settings

#: Requests that are under way at a stop get this long.
SHUTDOWN_TIMEOUT_SECONDS: Final = 10.0

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Serve in the foreground until SIGTERM or SIGINT, then finish the requests under way and stop.

    Raises:
        ConfigurationError: if the port or the directory is taken, or a datasource file is not understood.
    """
    port = local_port(settings.tinybird_url, "TRACKER_TINYBIRD_URL")
    require_free_port(port, "TRACKER_TINYBIRD_URL")
    project_dir = settings.tinybird_project_dir or tinybird_dir()
    datasources = read_datasources(project_dir)
    database = Database(settings.data_dir / "tinybird", datasources)
    pipes = read_pipes(project_dir)
    asyncio.run(_serve(Server(settings, database, pipes), settings.local_tinybird_host, port))


async def _serve(server: Server, host: str, port: int) -> None:
    stop = stop_event()
    # Bodies are unpacked by us, within the limit: see body.py.
    runner = web.AppRunner(
        server.application(),
        auto_decompress=False,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        log.info("Tinybird ready", url=f"http://{host}:{port}")
        await stop.wait()
        log.info("Tinybird stopping")
    finally:
        await runner.cleanup()
