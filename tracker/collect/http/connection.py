"""One HTTP/1.1 connection: no request costs a timer or a task of its own, and at most one is under way."""

import asyncio
import time
from typing import Any, cast

from tracker.collect.api import responses as answers
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Pending, Request, Response, render
from tracker.collect.http.request_parser import RequestReader
from tracker.collect.http.serving import (
    LINGER_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    WRITE_TIMEOUT_SECONDS,
    Server,
)


class HttpConnection(asyncio.Protocol):
    """One connection: reads a request, has it answered, writes the answer, and only then looks at the next one."""

    __slots__ = (
        "_close_after",
        "_head",
        "_is_lingering",
        "_is_writing_paused",
        "_loop",
        "_peer",
        "_reader",
        "_server",
        "_since",
        "_transport",
        "_unparsed",
        "_waiting",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._reader = RequestReader(loop, server.max_body_bytes)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        #: The head of the request that is under way.
        self._head: Any = None
        #: What it waits for: nobody else may hold on to it.
        self._waiting: asyncio.Task[Response] | Pending | None = None
        self._unparsed = b""
        self._is_lingering = False
        self._is_writing_paused = False
        self._close_after = False
        #: When the present phase began: idle, receiving, lingering or held up by a full write buffer.
        self._since = time.monotonic()

    # -- What the transport calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, unless there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self._peer = address[0] if address else ""
        if not self._server.joined(self):
            self._refuse(RequestError("overloaded", "too many connections at once"))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection. What is under way goes on: it may be in Kafka already."""
        self._transport = None
        self._server.left(self)

    def pause_writing(self) -> None:
        """Stop answering: the client does not take what it has been sent."""
        self._is_writing_paused = True
        self._since = time.monotonic()

    def resume_writing(self) -> None:
        """Go on answering."""
        self._is_writing_paused = False
        self._go_on()

    def eof_received(self) -> bool:
        """Let a client that only has stopped sending have its answer."""
        if self._head is not None:
            self._close_after = True
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Take what has come; while a request is under way it only waits."""
        if self._is_lingering:
            return
        if self._head is not None or self._is_writing_paused:
            self._unparsed += data
            self._pause_reading()
            return
        self._pump(data)

    # -- Requests -------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        """Read; True if that completed a request and its answer has been written."""
        if not self._reader.has_begun:
            self._since = time.monotonic()
        try:
            whole = self._reader.feed(data)
        except RequestError as error:
            self._refuse(error)
            return False
        if self._reader.asked:
            self._reader.asked = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if whole is None:
            return False
        self._serve(*whole)
        return self._head is None

    def _serve(self, head: Any, body: bytes) -> None:
        self._head = head
        path, _, query = head.path.partition("?")
        answer = self._server.handle(Request(head.method, path, query, head.headers, body, self._peer))
        if isinstance(answer, Response):
            self._answer(answer)
        elif isinstance(answer, Pending):
            self._waiting = answer
            answer.settled.add_done_callback(self._settled)
        else:
            self._waiting = self._loop.create_task(answer)
            self._waiting.add_done_callback(self._answered)

    def _settled(self, _: "asyncio.Future[None]") -> None:
        pending = cast("Pending", self._waiting)
        self._waiting = None
        self._answer(pending.resolve())
        self._go_on()

    def _answered(self, task: "asyncio.Task[Response]") -> None:
        self._waiting = None
        self._answer(task.result())
        self._go_on()

    def _answer(self, response: Response) -> None:
        head, self._head = self._head, None
        if self._transport is None:
            return
        close = response.close or self._close_after or head.should_close or self._server.is_stopping
        self._write(render(response, self._server.date, close=close, with_body=head.method != "HEAD"))
        self._since = time.monotonic()
        if close:
            self._linger()
        else:
            self._reader.consumed()

    def _go_on(self) -> None:
        """Turn to what has come meanwhile: as bytes, or as what the parser keeps behind the last request."""
        if self._head is not None or self._is_writing_paused or self._is_lingering:
            return
        data, self._unparsed = self._unparsed, b""
        self._resume_reading()
        self._pump(data)

    def _pump(self, data: bytes) -> None:
        """Feed the parser; as long as requests are answered at once, look for another one behind them."""
        is_answered = True
        while is_answered and not self._is_lingering and not self._is_writing_paused and self._transport is not None:
            is_answered = self._feed(data)
            data = b""

    # -- Ends -----------------------------------------------------------------------------------------------------

    def check_time(self, now: float, idle_seconds: float) -> None:
        """End what takes too long; called about once a second."""
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
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, error: RequestError) -> None:
        """Answer without having asked the application, and close."""
        response = answers.failed(error)
        self._server.on_refused(response.status)
        self._write(render(response, self._server.date, close=True, with_body=True))
        self._linger()

    def _linger(self) -> None:
        """End our side; what the client still sends is dropped for a moment, or it might not see the answer."""
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
