"""A request that has arrived whole, and a response before it is bytes. Pure: no socket, no event loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec
from multidict import CIMultiDictProxy

from tracker.errors import InvariantError

JSON: Final = "application/json"

Headers = Sequence[tuple[str, str]]


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request with its whole body, as the client sent it: nothing is unpacked or decoded yet."""

    method: str
    path: str  # still percent-encoded
    query: str  # still percent-encoded, without the question mark
    headers: CIMultiDictProxy[str]
    body: bytes
    peer: str  # the address at the other end of the connection, which may be a proxy's


@dataclass(slots=True)
class Response:
    """One response.

    Attributes:
        close: The connection ends after it.
        slows_down: The connection's next request is read about a second later.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False
    slows_down: bool = False


_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
#: Responses without a body must not announce one (RFC 9110, 8.6).
_NO_CONTENT: Final = frozenset({204, 304})


def render(response: Response, date: str, *, close: bool, with_body: bool) -> bytes:
    """Return the response as it goes over the wire.

    Raises:
        InvariantError: a header has a line break in it. A client could add headers of its choice through it.
    """
    head = [_STATUS_LINES[response.status], "Date: ", date, "\r\n"]
    if response.status not in _NO_CONTENT:
        head += ("Content-Type: ", response.content_type, "\r\nContent-Length: ", str(len(response.body)), "\r\n")
    for name, value in response.headers:
        if "\r" in value or "\n" in value:
            raise InvariantError(f"the header {name} has a line break in it")
        head += (name, ": ", value, "\r\n")
    head.append("Connection: close\r\n\r\n" if close else "\r\n")
    encoded = "".join(head).encode("latin-1", "replace")
    return encoded + response.body if with_body else encoded
