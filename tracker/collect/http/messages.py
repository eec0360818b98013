"""A request as it has arrived whole, and an answer before it is bytes."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from multidict import CIMultiDictProxy

from tracker.errors import InvariantError

JSON: Final = "application/json"

Headers = Sequence[tuple[str, str]]


class Request(NamedTuple):
    """One request with its whole body, as the client sent it: nothing is unpacked or decoded yet."""

    method: str
    path: str  # still percent-encoded
    query: str  # still percent-encoded, without the question mark
    headers: CIMultiDictProxy[str]
    body: bytes
    peer: str  # the address at the other end of the connection, which may be a proxy's


@dataclass(slots=True)
class Response:
    """One answer. ``close`` ends the connection after it."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    close: bool = False


class Pending:
    """An answer that only waits for one thing, which others may wait for too: it costs no task, unlike a coroutine.

    ``settled`` must not be cancelled. Once it has ended, ``resolve`` makes the answer, or raises what became of it.
    """

    __slots__ = ("resolve", "settled")

    def __init__(self, settled: "asyncio.Future[None]", resolve: Callable[[], Response]) -> None:
        self.settled = settled
        self.resolve = resolve

    def __await__(self) -> Generator[Any, Any, Response]:
        """Wait for it as for a coroutine."""
        return self._answer().__await__()

    async def _answer(self) -> Response:
        await asyncio.wait((self.settled,))  # which leaves it alone when the waiting is cancelled
        return self.resolve()


Answer = Response | Pending | Coroutine[Any, Any, Response]

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
#: Answers without a body must not announce one (RFC 9110, 8.6).
_NO_CONTENT: Final = frozenset({204, 304})


def render(response: Response, date: str, *, close: bool, with_body: bool) -> bytes:
    """Return the answer as it goes over the wire.

    Raises:
        InvariantError: a header would end its line early: what came from outside must never be able to add one.
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
