"""One HTTP/1.1 connection: no request costs a timer or a task of its own, and at most one is under way.

aiohttp's parser (llhttp) reads; what is left of a web framework is here (docs/decisions/0013).
"""

import asyncio
import time
from typing import Any, Final, cast

from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from tracker.collect import answers
from tracker.collect.errors import ErrorCode, RequestError
from tracker.collect.messages import Pending, Request, Response, render
from tracker.collect.serving import (
    LINGER_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    REQUEST_TIMEOUT_SECONDS,
    WRITE_TIMEOUT_SECONDS,
    Server,
)

#: Far above what one read brings, so that a body's reader never asks to pause: it is emptied after each read.
_PAYLOAD_BUFFER_BYTES: Final = 1 << 22


class _NoFlowControl:
    """What the parser's body readers may call; bodies are emptied after each read and need none of it."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """Do nothing."""


_NO_FLOW_CONTROL: Final = cast("Any", _NoFlowControl())


class HttpConnection(asyncio.Protocol):
    """One connection: reads a request, has it answered, writes the answer, and only then looks at the next one."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_close_after",
        "_is_busy",
        "_is_lingering",
        "_is_writing_paused",
        "_loop",
        "_message",
        "_parser",
        "_payload",
        "_peer",
        "_server",
        "_since",
        "_transport",
        "_unparsed",
        "_unread_head_bytes",
        "_waiting",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = HttpRequestParser(
            _NO_FLOW_CONTROL,
            loop,
            _PAYLOAD_BUFFER_BYTES,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._message: Any = None
        self._payload: Any = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unparsed = b""
        self._unread_head_bytes = 0
        #: What the request under way waits for: nobody else may hold on to it.
        self._waiting: asyncio.Task[Response] | Pending | None = None
        self._is_busy = False
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
            self._refuse("overloaded", "too many connections at once")
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
        if self._is_busy:
            self._close_after = True
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Take what has come; while a request is under way it only waits."""
        if self._is_lingering:
            return
        if self._is_busy or self._is_writing_paused:
            self._unparsed += data
            self._pause_reading()
            return
        self._pump(data)

    # -- Requests -------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        """Parse; True if that completed a request and its answer has been written."""
        if self._message is None and not self._unread_head_bytes:
            self._since = time.monotonic()
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except LineTooLong:
            self._refuse("headers_too_large", f"a line of the head is longer than {MAX_LINE_BYTES} bytes")
            return False
        except (HttpProcessingError, ValueError):
            self._refuse("bad_request", "this is not HTTP/1.1")
            return False
        if not messages and self._message is None:
            self._unread_head_bytes += len(data)
            if self._unread_head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            return False
        if messages and not self._begin(messages[0], len(data), is_upgraded=is_upgraded):
            return False
        return self._take_body()

    def _begin(self, message: Any, fed_bytes: int, *, is_upgraded: bool) -> bool:
        """Look at a head; False if the request has been refused for it."""
        self._message, self._payload = message
        fed_bytes += self._unread_head_bytes
        self._unread_head_bytes = 0
        if fed_bytes > MAX_HEAD_BYTES and _head_bytes(self._message) > MAX_HEAD_BYTES:
            self._refuse_head()
            return False
        if is_upgraded or self._message.upgrade:
            self._refuse("bad_request", "this server speaks HTTP/1.1 only")
            return False
        if self._payload.is_eof():
            return True
        headers = self._message.headers
        if int(headers.get("Content-Length", 0)) > self._server.max_body_bytes:
            self._refuse_body()
            return False
        if headers.get("Expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _take_body(self) -> bool:
        payload = self._payload
        data = payload.read_nowait(-1)
        if payload.is_eof() and not self._body:
            body = data  # nearly always: it has come with its head
        else:
            self._body.append(data)
            body = b""
        self._body_bytes += len(data)
        if self._body_bytes > self._server.max_body_bytes:
            self._refuse_body()
            return False
        if not payload.is_eof():
            return False
        self._serve(body or b"".join(self._body))
        return not self._is_busy

    def _serve(self, body: bytes) -> None:
        message = self._message
        self._body = []
        self._body_bytes = 0
        self._is_busy = True
        path, _, query = message.path.partition("?")
        answer = self._server.handle(Request(message.method, path, query, message.headers, body, self._peer))
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
        message = self._message
        self._message = self._payload = None
        self._is_busy = False
        if self._transport is None:
            return
        close = response.close or self._close_after or message.should_close or self._server.is_stopping
        self._write(render(response, self._server.date, close=close, with_body=message.method != "HEAD"))
        self._since = time.monotonic()
        if close:
            self._linger()
        else:
            self._parser.message_consumed()

    def _go_on(self) -> None:
        """Turn to what has come meanwhile: as bytes, or as what the parser keeps behind the last request."""
        if self._is_busy or self._is_writing_paused or self._is_lingering:
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
        if self._is_busy:
            return  # the handler has its own limits
        silent_seconds = now - self._since
        if self._is_lingering:
            if silent_seconds > LINGER_SECONDS:
                self.abort()
        elif self._is_writing_paused:
            if silent_seconds > WRITE_TIMEOUT_SECONDS:
                self.abort()
        elif self._message is not None or self._unread_head_bytes:
            if silent_seconds > REQUEST_TIMEOUT_SECONDS:
                self._refuse("body_timeout", f"the request did not arrive within {REQUEST_TIMEOUT_SECONDS:.0f} s")
        elif silent_seconds > idle_seconds and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, code: ErrorCode, message: str) -> None:
        """Answer without having asked the application, and close."""
        response = answers.failed(RequestError(code, message))
        self._server.on_refused(response.status)
        self._write(render(response, self._server.date, close=True, with_body=True))
        self._linger()

    def _refuse_head(self) -> None:
        self._refuse("headers_too_large", f"the head is larger than {MAX_HEAD_BYTES} bytes")

    def _refuse_body(self) -> None:
        self._refuse("oversized", f"the body is larger than {self._server.max_body_bytes} bytes")

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


def _head_bytes(message: Any) -> int:
    """Return how large a head is, about: names, values, the line, and four bytes around each header."""
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
