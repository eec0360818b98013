"""A connection waits for its turn, and answers probes when it may answer nothing else."""

import asyncio
from collections import deque
from typing import Any

from tracker.collect.errors import RequestError
from tracker.collect.http.connection import HttpConnection
from tracker.collect.http.connection_limits import ConnectionLimits
from tracker.collect.http.error_response import error_response
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


class Transport(asyncio.Transport):
    """Writes into a list."""

    def __init__(self) -> None:
        super().__init__({"peername": ("198.51.100.1", 4711)})
        self.written = b""
        self.reads = True
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def statuses(self) -> list[str]:
        return [part[:3].decode() for part in self.written.split(b"HTTP/1.1 ")[1:]]

    def is_reading(self) -> bool:
        return self.reads

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


class Owner:
    """A server with one connection."""

    max_body_bytes = 1_000
    date = "now"
    is_stopping = False

    def __init__(self, *responses: Response, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits or ConnectionLimits(10, 10, always_served=frozenset({"/healthz"}))
        self.responses = deque(responses)
        self.asked: list[str] = []
        self.refused: list[str] = []
        self.transport = Transport()
        self.connection = HttpConnection(self, asyncio.get_running_loop())
        self.connection.connection_made(self.transport)

    def handle(self, request: Request) -> Reply:
        self.asked.append(request.path)
        return Reply.now(self.responses.popleft() if self.responses else Response(200))

    def on_refused(self, error: RequestError) -> None:
        self.refused.append(error.code)

    def joined(self, connection: Any) -> None:
        pass

    def left(self, connection: Any) -> None:
        pass

    def receive(self, *paths: str) -> None:
        self.connection.data_received("".join(GET.format(path) for path in paths).encode())


async def test_after_a_limit_the_next_request_is_read_with_the_next_look_at_the_times():
    owner = Owner(error_response(RequestError("rate_limited", "slow down")))
    owner.receive("/a", "/b")
    assert (owner.asked, owner.transport.reads) == (["/a"], False)
    owner.receive("/c")
    assert owner.asked == ["/a"]
    owner.connection.check_time(0.0, 75.0)
    assert (owner.asked, owner.transport.reads) == (["/a", "/b", "/c"], True)
    assert owner.transport.statuses() == ["429", "200", "200"]


async def test_who_has_to_wait_anyway_is_not_read_at_once_on_a_new_connection_either():
    owner = Owner(limits=ConnectionLimits(10, 10, must_wait=lambda peer: peer == "198.51.100.1"))
    owner.receive("/a")
    assert (owner.asked, owner.transport.reads) == ([], False)
    owner.connection.check_time(0.0, 75.0)
    assert owner.asked == ["/a"]


async def test_a_connection_of_the_reserve_is_served_one_probe_and_nothing_else():
    probe = Owner(limits=ConnectionLimits(0, 10, always_served=frozenset({"/healthz"})))
    probe.receive("/healthz", "/healthz")
    assert (probe.asked, probe.transport.statuses(), probe.transport.is_closed) == (["/healthz"], ["200"], True)
    other = Owner(limits=ConnectionLimits(0, 10, always_served=frozenset({"/healthz"})))
    other.receive("/a")
    assert (other.asked, other.refused, other.transport.statuses()) == ([], ["overloaded"], ["503"])
    silent = Owner(limits=ConnectionLimits(0, 10, always_served=frozenset({"/healthz"})))
    silent.connection.check_time(silent.connection._since + 2.5, 75.0)
    assert silent.transport.is_closed


async def test_a_request_that_is_refused_keeps_nothing_in_memory():
    owner = Owner()
    owner.connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n" + b"x" * 800)
    assert owner.limits._all.buffered_bytes == 800
    owner.connection.check_time(owner.connection._since + 11, 75.0)
    assert (owner.refused, owner.limits._all.buffered_bytes) == (["body_timeout"], 0)
    owner.connection.connection_lost(None)
    assert owner.limits._all.connections == 0
