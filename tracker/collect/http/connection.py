"""One HTTP/1.1 connection: at most one request is under way, and a request costs no timer and no task."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from tracker.collect.errors import RequestError
from tracker.collect.http.connection_limits import ConnectionLimits, Standing
from tracker.collect.http.error_response import error_response
from tracker.collect.http.messages import Request, Response, render
from tracker.collect.http.reply import Handler, Reply
from tracker.collect.http.request_parser import RequestReader

#: From a request's first byte to its last.
REQUEST_TIMEOUT_SECONDS: Final = 10.0
#: After this a client that does not read its responses is disconnected.
WRITE_TIMEOUT_SECONDS: Final = 10.0
#: The same for a connection of the reserve, also between its connect and its request.
RESERVE_TIMEOUT_SECONDS: Final = 2.0
#: How long the rest of a refused request is read and dropped, so that the client gets to see its response.
LINGER_SECONDS: Final = 1.0


class ConnectionOwner(Protocol):
    """What a connection needs of the server that has accepted it."""

    handle: Handler
    max_body_bytes: int
    #: The value of the ``Date`` header.
    date: str
    is_stopping: bool
    limits: ConnectionLimits
    #: Called with the error of each request that was refused before the handler saw it.
    on_refused: Callable[[RequestError], None]

    def joined(self, connection: Any) -> None:
        """Watch over the times of a new connection."""

    def left(self, connection: Any) -> None:
        """Forget a connection that is closed."""


class HttpConnection(asyncio.Protocol):
    """Reads a request, hands it to the handler, writes the response, and only then reads the next one."""

    __slots__ = (
        "_buffered_bytes",
        "_close_after",
        "_head",
        "_is_held",
        "_is_lingering",
        "_is_writing_paused",
        "_owner",
        "_peer",
        "_reader",
        "_reply",
        "_since",
        "_standing",
        "_transport",
        "_unparsed",
    )

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._reader = RequestReader(loop, owner.max_body_bytes)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        #: The head of the request that is under way.
        self._head: Any = None
        #: The reply that it waits for. It is kept here so that a task behind it is not garbage-collected.
        self._reply: Reply | None = None
        self._unparsed = b""
        #: The bytes of unfinished requests, as the limits have counted them.
        self._buffered_bytes = 0
        self._standing = Standing.FULL
        #: The client has to wait for its next request to be read.
        self._is_held = False
        self._is_lingering = False
        self._is_writing_paused = False
        self._close_after = False
        #: When the present phase began: idle, receiving, lingering or waiting for the client to read.
        self._since = time.monotonic()

    # -- Called by the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, unless there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self._peer = address[0] if address else ""
        self._standing = self._owner.limits.join(self._peer)
        self._owner.joined(self)
        if self._standing is Standing.REFUSED:
            self._refuse(self._owner.limits.refusal(self._peer))
            self._transport.close()
        elif self._standing is Standing.FULL and self._owner.limits.must_wait(self._peer):
            self._hold()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection. A request that is under way is finished: its records may be in Kafka already."""
        self._transport = None
        self._owner.limits.leave(self._peer, self._standing, self._buffered_bytes)
        self._owner.left(self)

    def pause_writing(self) -> None:
        """Stop writing responses: the client does not read them."""
        self._is_writing_paused = True
        self._since = time.monotonic()

    def resume_writing(self) -> None:
        """Continue to write responses."""
        self._is_writing_paused = False
        self._go_on()

    def eof_received(self) -> bool:
        """Keep our side open for the response, if the client only has stopped sending."""
        if self._head is not None:
            self._close_after = True
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, or keep them until the request that is under way has its response."""
        if self._is_lingering:
            return
        if self._head is not None or self._is_writing_paused or self._is_held:
            self._unparsed += data
            self._pause_reading()
            self._count_buffered()
            return
        self._pump(data)

    # -- Requests -------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        """Parse bytes; return True if they completed a request and its response has been written."""
        if not self._reader.has_begun:
            self._since = time.monotonic()
        try:
            whole = self._reader.feed(data)
        except RequestError as error:
            self._refuse(error)
            return False
        if self._reader.expects_continue:
            self._reader.expects_continue = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if whole is None:
            self._count_buffered()
            return False
        if self._buffered_bytes:
            self._count_buffered()
        self._serve(*whole)
        return self._head is None

    def _count_buffered(self) -> None:
        more_bytes = self._reader.buffered_bytes + len(self._unparsed) - self._buffered_bytes
        if not more_bytes:  # nearly always: a request arrives whole
            return
        self._buffered_bytes += more_bytes
        try:
            self._owner.limits.buffer(self._peer, more_bytes)
        except RequestError as error:
            self._refuse(error)

    def _serve(self, head: Any, path: str, query: str, body: bytes) -> None:
        if self._standing is not Standing.FULL and path not in self._owner.limits.always_served:
            self._refuse(self._owner.limits.refusal(self._peer))
            return
        self._head = head
        reply = self._owner.handle(Request(head.method, path, query, head.headers, body, self._peer))
        if reply.ready is None:
            self._respond(reply.respond())
        else:
            self._reply = reply
            reply.ready.add_done_callback(self._reply_is_ready)

    def _reply_is_ready(self, _: "asyncio.Future[Any]") -> None:
        reply = cast("Reply", self._reply)
        self._reply = None
        self._respond(reply.respond())
        self._go_on()

    def _respond(self, response: Response) -> None:
        head, self._head = self._head, None
        if self._transport is None:
            return
        is_last = self._owner.is_stopping or self._standing is not Standing.FULL
        close = response.close or self._close_after or head.should_close or is_last
        self._write(render(response, self._owner.date, close=close, with_body=head.method != "HEAD"))
        self._since = time.monotonic()
        if close:
            self._linger()
        else:
            self._reader.consumed()
            if response.slows_down:
                self._hold()

    def _hold(self) -> None:
        """Read nothing until the next look at the times."""
        self._is_held = True
        self._pause_reading()

    def _go_on(self) -> None:
        """Turn to the bytes that have arrived meanwhile, here or in the parser."""
        if self._head is not None or self._is_writing_paused or self._is_lingering or self._is_held:
            return
        data, self._unparsed = self._unparsed, b""
        self._resume_reading()
        self._pump(data)

    def _pump(self, data: bytes) -> None:
        """Parse bytes; after each request that was answered at once, look for another one behind it."""
        is_answered = True
        while is_answered and self._may_serve:
            is_answered = self._feed(data)
            data = b""

    @property
    def _may_serve(self) -> bool:
        is_waiting = self._is_lingering or self._is_writing_paused or self._is_held
        return not is_waiting and self._transport is not None

    # -- The end --------------------------------------------------------------------------------------------------

    def check_time(self, now: float, idle_seconds: float) -> None:
        """End a phase that has taken too long. The server calls this about once a second."""
        if self._head is not None:
            return  # the handler has its own limits
        if self._is_held:
            self._is_held = False
            self._go_on()
            return
        silent_seconds = now - self._since
        if self._is_lingering or self._is_writing_paused:
            if silent_seconds > (LINGER_SECONDS if self._is_lingering else WRITE_TIMEOUT_SECONDS):
                self.abort()
            return
        most_seconds = REQUEST_TIMEOUT_SECONDS if self._reader.has_begun else idle_seconds
        if self._standing is not Standing.FULL:
            most_seconds = min(most_seconds, RESERVE_TIMEOUT_SECONDS)
        if silent_seconds <= most_seconds:
            return
        if self._reader.has_begun:
            self._refuse(RequestError("body_timeout", f"the request did not arrive within {most_seconds:.0f} s"))
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; bytes that were not sent yet are dropped."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, error: RequestError) -> None:
        """Respond without asking the handler, and close."""
        response = error_response(error)
        self._owner.on_refused(error)
        self._write(render(response, self._owner.date, close=True, with_body=True))
        self._linger()

    def _linger(self) -> None:
        """Close our side, and for a moment read and drop what the client still sends.

        A client that sends into a closed connection may get a reset before it has read the response.
        """
        self._is_lingering = True
        self._since = time.monotonic()
        self._unparsed = b""
        self._reader.drop()
        if self._buffered_bytes:
            self._count_buffered()
        if self._transport is not None:
            self._resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()
