"""The listening side of HTTP: all connections of one collector, and the one clock that they are held to."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

import structlog

from tracker import clock
from tracker.collect.http.connection import HttpConnection
from tracker.collect.http.serving import Handler

#: Between two requests, and before the first.
IDLE_TIMEOUT_SECONDS: Final = 75.0
#: The same when every connection is taken.
CROWDED_IDLE_TIMEOUT_SECONDS: Final = 1.0
#: At a stop, an idle connection may bring one more request within this time; its answer closes it.
STOP_IDLE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 1.0
LISTEN_BACKLOG: Final = 1_024

_log = structlog.get_logger(__name__)


class HttpServer:
    """Accepts connections, ends those that take too long with one sweep a second, and stops in good order."""

    def __init__(
        self, handle: Handler, *, max_connections: int, max_body_bytes: int, on_refused: Callable[[int], None]
    ) -> None:
        """Take the application's handler; ``on_refused`` is told the status of what never reaches it."""
        self.handle = handle
        self.on_refused = on_refused
        self.max_body_bytes = max_body_bytes
        self.date = ""
        self.is_stopping = False
        self._max_connections = max_connections
        self._connections: set[HttpConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    async def listen(self, host: str, port: int, **options: Any) -> None:
        """Listen on an address; ``options`` are those of ``loop.create_server`` (``reuse_port``, ``sock``).

        Raises:
            OSError: the address can't be listened on.
        """
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweep()
        where: dict[str, Any] = {} if "sock" in options else {"host": host, "port": port}
        server = await loop.create_server(
            lambda: HttpConnection(self, loop), **where, backlog=LISTEN_BACKLOG, **options
        )
        self._servers.append(server)

    async def stop(self, grace_seconds: float) -> None:
        """Stop accepting, answer what is under way and what still comes on open connections, then close them all."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        self._note_if_empty()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("stopping took too long; connections are dropped", connections=len(self._connections))
            for connection in list(self._connections):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def joined(self, connection: HttpConnection) -> bool:
        """Take a connection in; False if there are too many."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: HttpConnection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self.is_stopping and not self._connections:
            self._empty.set()

    def _sweep(self) -> None:
        self.date = formatdate(clock.now_ms() // 1000, usegmt=True)
        now = time.monotonic()
        idle_seconds = IDLE_TIMEOUT_SECONDS
        if self.is_stopping:
            idle_seconds = STOP_IDLE_SECONDS
        elif len(self._connections) >= self._max_connections:
            idle_seconds = CROWDED_IDLE_TIMEOUT_SECONDS
        for connection in list(self._connections):
            connection.check_time(now, idle_seconds)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
