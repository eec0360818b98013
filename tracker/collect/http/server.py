"""The listening side of HTTP: accepts connections, and ends those that take too long."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

import structlog

from tracker import clock
from tracker.collect.errors import RequestError
from tracker.collect.http.connection import HttpConnection
from tracker.collect.http.connection_limits import ConnectionLimits
from tracker.collect.http.reply import Handler

#: Between two requests, and before the first.
IDLE_TIMEOUT_SECONDS: Final = 75.0
#: The same while the limit of connections is reached.
CROWDED_IDLE_TIMEOUT_SECONDS: Final = 1.0
#: At a stop, an idle connection may bring one more request within this time; its answer closes it.
STOP_IDLE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 1.0
LISTEN_BACKLOG: Final = 1_024

log = structlog.get_logger()


class HttpServer:
    """All connections of one collector. Run ``sweep`` while it listens."""

    def __init__(
        self,
        handle: Handler,
        *,
        limits: ConnectionLimits,
        max_body_bytes: int,
        on_refused: Callable[[RequestError], None],
    ) -> None:
        """Use ``handle`` for all requests; call ``on_refused`` with the error of those that never reach it."""
        self.handle = handle
        self.on_refused = on_refused
        self.max_body_bytes = max_body_bytes
        self.date = _http_date()
        self.is_stopping = False
        self.limits = limits
        self._connections: set[HttpConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._empty = asyncio.Event()

    async def listen(self, host: str, port: int, **options: Any) -> None:
        """Listen on an address; ``options`` are those of ``loop.create_server`` (``reuse_port``, ``sock``).

        Raises:
            OSError: the address can't be listened on.
        """
        loop = asyncio.get_running_loop()
        where: dict[str, Any] = {} if "sock" in options else {"host": host, "port": port}
        server = await loop.create_server(
            lambda: HttpConnection(self, loop), **where, backlog=LISTEN_BACKLOG, **options
        )
        self._servers.append(server)

    async def stop(self, grace_seconds: float) -> None:
        """Stop accepting, answer the requests that are under way or still arrive, then close all connections."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        self._note_if_empty()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("stopping took too long; connections are dropped", connections=len(self._connections))
            for connection in list(self._connections):
                connection.abort()

    async def sweep(self) -> None:
        """Once a second, end connections that take too long and update the date, until cancelled."""
        while True:
            self.date = _http_date()
            self._check_times(time.monotonic())
            await asyncio.sleep(SWEEP_SECONDS)

    def joined(self, connection: HttpConnection) -> None:
        """Watch over the times of a new connection."""
        self._connections.add(connection)

    def left(self, connection: HttpConnection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self.is_stopping and not self._connections:
            self._empty.set()

    def _check_times(self, now: float) -> None:
        idle_seconds = IDLE_TIMEOUT_SECONDS
        if self.is_stopping:
            idle_seconds = STOP_IDLE_SECONDS
        elif self.limits.is_crowded:
            idle_seconds = CROWDED_IDLE_TIMEOUT_SECONDS
        for connection in list(self._connections):
            connection.check_time(now, idle_seconds)


def _http_date() -> str:
    return formatdate(clock.now_ms() // 1000, usegmt=True)
