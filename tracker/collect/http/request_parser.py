"""From a connection's bytes to whole requests within their limits. No socket, no clock.

aiohttp's parser (llhttp) does the parsing; this file and ``connection.py`` do the rest of what a web framework would do
(docs/decisions/0013).
"""

import asyncio
from typing import Any, Final, NamedTuple, cast

from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from multidict import CIMultiDictProxy

from tracker.collect.errors import RequestError

#: The longest request line, and the longest header.
MAX_LINE_BYTES: Final = 8_190
MAX_HEADERS: Final = 100
#: The request line and all headers together.
MAX_HEAD_BYTES: Final = 32_768
#: Far above the size of one read. The body is taken out after each read, so its reader never asks to pause.
_PAYLOAD_BUFFER_BYTES: Final = 1 << 22


class _NoFlowControl:
    """The parser's body readers call this to slow down the sender. Bodies are taken out after each read instead."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        """Do nothing."""


_NO_FLOW_CONTROL: Final = cast("Any", _NoFlowControl())


class WholeRequest(NamedTuple):
    """A request that has arrived: the parser's head, the parts of its target, and the complete body."""

    head: Any
    path: str
    query: str
    body: bytes


class RequestReader:
    """Reads one request at a time; the bytes behind it wait until ``consumed`` is called."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head",
        "_max_body_bytes",
        "_parser",
        "_payload",
        "_unread_head_bytes",
        "expects_continue",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, max_body_bytes: int) -> None:
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
        self._max_body_bytes = max_body_bytes
        self._head: Any = None
        self._payload: Any = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._unread_head_bytes = 0
        #: Whether the client waits for ``100 Continue`` before it sends the body; the caller resets it.
        self.expects_continue = False

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request has arrived."""
        return self._head is not None or self._unread_head_bytes > 0

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished body is kept."""
        return self._body_bytes

    def drop(self) -> None:
        """Forget the part of a body that is here: nobody will read the rest."""
        self._body = []
        self._body_bytes = 0

    def consumed(self) -> None:
        """Let the next ``feed`` read the request behind the last one."""
        self._parser.message_consumed()

    def feed(self, data: bytes) -> WholeRequest | None:
        """Parse bytes; return the request that they complete, if they do.

        Raises:
            RequestError: the request is refused. The bytes behind it can't be parsed.
        """
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except LineTooLong:
            message = f"a line of the head is longer than {MAX_LINE_BYTES} bytes"
            raise RequestError("headers_too_large", message) from None
        except (HttpProcessingError, ValueError):
            raise RequestError("bad_request", "this is not HTTP/1.1") from None
        if messages:
            self._begin(messages[0], len(data), is_upgraded=is_upgraded)
        elif self._head is None:
            self._unread_head_bytes += len(data)
            if self._unread_head_bytes > MAX_HEAD_BYTES:
                raise _head_too_large()
            return None
        return self._take_body()

    def _begin(self, message: Any, fed_bytes: int, *, is_upgraded: bool) -> None:
        """Check a head."""
        self._head, self._payload = message
        fed_bytes += self._unread_head_bytes
        self._unread_head_bytes = 0
        if fed_bytes > MAX_HEAD_BYTES and _head_bytes(self._head) > MAX_HEAD_BYTES:
            raise _head_too_large()
        if is_upgraded or self._head.upgrade:
            raise RequestError("bad_request", "this server speaks HTTP/1.1 only")
        if self._head.version.major != 1:  # the parser refuses 1.2 and later
            raise RequestError("http_version", "this server speaks HTTP/1.0 and HTTP/1.1")
        if self._payload.is_eof():
            return
        headers = self._head.headers
        if int(headers.get("Content-Length", 0)) > self._max_body_bytes:
            raise self._body_too_large()
        self.expects_continue = headers.get("Expect", "").lower() == "100-continue"

    def _take_body(self) -> WholeRequest | None:
        payload = self._payload
        data = payload.read_nowait(-1)
        self._body_bytes += len(data)
        if self._body_bytes > self._max_body_bytes:
            raise self._body_too_large()
        if not payload.is_eof():
            self._body.append(data)
            return None
        # Nearly always the body arrives together with its head.
        path, _, query = self._head.path.partition("?")
        if not path.startswith("/"):
            path = _without_authority(path, self._head.headers)
        whole = WholeRequest(self._head, path, query, b"".join([*self._body, data]) if self._body else data)
        self._head = self._payload = None
        self._body = []
        self._body_bytes = 0
        return whole

    def _body_too_large(self) -> RequestError:
        return RequestError("oversized", f"the body is larger than {self._max_body_bytes} bytes")


def _without_authority(target: str, headers: CIMultiDictProxy[str]) -> str:
    """Return the path of a target in absolute form, as clients send it to proxies (RFC 9112, 3.2.2).

    Raises:
        RequestError: it names another host than the header ``Host``.
    """
    scheme, is_absolute, rest = target.partition("://")
    if not is_absolute or scheme.lower() not in ("http", "https"):
        return target
    authority, slash, path = rest.partition("/")
    if authority.lower() != headers.get("Host", authority).lower():
        raise RequestError("bad_request", "the request line names another host than the header Host")
    return slash + path or "/"


def _head_too_large() -> RequestError:
    return RequestError("headers_too_large", f"the head is larger than {MAX_HEAD_BYTES} bytes")


def _head_bytes(head: Any) -> int:
    """Return the approximate size of a head: names, values, the request line, and four bytes for each header."""
    return len(head.path) + sum(len(name) + len(value) + 4 for name, value in head.raw_headers)
