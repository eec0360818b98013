"""One HTTP/1.1 connection: at most one request is under way, and a request costs no timer and no task."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from tracker.collect.errors import RequestError
from tracker.collect.http.error_response import error_response
from tracker.collect.http.messages import Request, Response, render
from tracker.collect.http.reply import Handler, Reply
from tracker.collect.http.request_parser import RequestReader

#: From a request's first byte to its last.
REQUEST_TIMEOUT_SECONDS: Final = 10.0
#: After this a client that does not read its responses is disconnected.
WRITE_TIMEOUT_SECONDS: Final = 10.0
#: How long the rest of a refused request is read and dropped, so that the client gets to see its response.
LINGER_SECONDS: Final = 1.0


class ConnectionOwner(Protocol):
    """What a connection needs of the server that has accepted it."""

    handle: Handler
    max_body_bytes: int
    #: The value of the ``Date`` header.
    date: str
    is_stopping: bool
    #: Called with the status of each request that was refused before the handler saw it.
    on_refused: Callable[[int], None]

    def joined(self, connection: Any) -> bool:
        """Count a new connection; False if there are too many."""

    def left(self, connection: Any) -> None:
        """Forget a connection that is closed."""


class HttpConnection(asyncio.Protocol):
    """Reads a request, hands it to the handler, writes the response, and only then reads the next one."""

    __slots__ = (
        "_close_after",
        "_head",
        "_is_lingering",
        "_is_writing_paused",
        "_owner",
        "_peer",
        "_reader",
        "_reply",
        "_since",
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
        if not self._owner.joined(self):
            self._refuse(RequestError("overloaded", "too many connections at once"))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection. A request that is under way is finished: its records may be in Kafka already."""
        self._transport = None
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
        if self._head is not None or self._is_writing_paused:
            self._unparsed += data
            self._pause_reading()
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
            return False
        self._serve(*whole)
        return self._head is None

    def _serve(self, head: Any, body: bytes) -> None:
        self._head = head
        path, _, query = head.path.partition("?")
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
        close = response.close or self._close_after or head.should_close or self._owner.is_stopping
        self._write(render(response, self._owner.date, close=close, with_body=head.method != "HEAD"))
        self._since = time.monotonic()
        if close:
            self._linger()
        else:
            self._reader.consumed()

    def _go_on(self) -> None:
        """Turn to the bytes that have arrived meanwhile, here or in the parser."""
        if self._head is not None or self._is_writing_paused or self._is_lingering:
            return
        data, self._unparsed = self._unparsed, b""
        self._resume_reading()
        self._pump(data)

    def _pump(self, data: bytes) -> None:
        """Parse bytes; after each request that was answered at once, look for another one behind it."""
        is_answered = True
        while is_answered and not self._is_lingering and not self._is_writing_paused and self._transport is not None:
            is_answered = self._feed(data)
            data = b""

    # -- The end --------------------------------------------------------------------------------------------------

    def check_time(self, now: float, idle_seconds: float) -> None:
        """End a phase that has taken too long. The server calls this about once a second."""
        if self._head is not None:
            return  # the handler has its own limits
        silent_seconds = now - self._since
        if self._is_lingering:
            if silent_seconds > LINGER_SECONDS:
                self.abort()
        elif self._is_writing_paused:
            if silent_seconds > WRITE_TIMEOUT_SECONDS:
                self.abort()
        elif self._reader.has_begun:
            if silent_seconds > REQUEST_TIMEOUT_SECONDS:
                message = f"the request did not arrive within {REQUEST_TIMEOUT_SECONDS:.0f} s"
                self._refuse(RequestError("body_timeout", message))
        elif silent_seconds > idle_seconds and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, error: RequestError) -> None:
        """Respond without asking the handler, and close."""
        response = error_response(error)
        self._owner.on_refused(response.status)
        self._write(render(response, self._owner.date, close=True, with_body=True))
        self._linger()

    def _linger(self) -> None:
        """Close our side, and for a moment read and drop what the client still sends.

        A client that sends into a closed connection may get a reset before it has read the response.
        """
        self._is_lingering = True
        self._since = time.monotonic()
        self._unparsed = b""
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
