"""The server over real sockets: what a client sends, however it is cut, and what it gets back."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import until
from tracker.collect.http import connection as connection_module
from tracker.collect.http import connection_limits as limits_module
from tracker.collect.http import server as server_module
from tracker.collect.http.connection_limits import ConnectionLimits
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.http.server import HttpServer
from tracker.local.ports import LOOPBACK, free_port

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = GET.replace(b"h\r\n", b"h\r\nConnection: close\r\n")
LONG_HEADERS = b"".join(b"H%d: %s\r\n" % (n, b"x" * 4_000) for n in range(9))
MAX_BODY_BYTES = 100


class Setup:
    """A server that answers with what was asked, or when a test says so."""

    def __init__(self, max_connections: int = 10) -> None:
        self.asked: list[Request] = []
        self.refused: list[str] = []
        self.answer: Response | asyncio.Future[Response] | None = None
        self.port = free_port()
        self.server = HttpServer(
            self._handle,
            limits=ConnectionLimits(max_connections, max_connections, always_served=frozenset({"/healthz"})),
            max_body_bytes=MAX_BODY_BYTES,
            on_refused=lambda error: self.refused.append(error.code),
        )

    def _handle(self, request: Request) -> Reply:
        self.asked.append(request)
        answer = self.answer
        if isinstance(answer, asyncio.Future):
            return Reply(answer, answer.result)
        return Reply.now(answer or Response(200, request.body, "text/plain"))

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection(LOOPBACK, self.port))

    async def with_one_under_way(self, request: bytes = GET) -> "Client":
        """Connect a client whose request has begun to be served; its answer is a future for the test to set."""
        self.answer = asyncio.get_running_loop().create_future()
        client = await self.connect()
        client.send(request)
        await until(lambda: self.asked)
        return client


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def response(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
        status, *lines = head.decode().split("\r\n")[:-2]
        assert status.startswith("HTTP/1.1 ")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", 0)) if has_body else 0
        return (
            int(status.split()[1]),
            headers,
            await asyncio.wait_for(self._reader.readexactly(length), PATIENCE_SECONDS),
        )

    async def is_closed(self) -> bool:
        """Wait until the server has closed its side; whether it did so without another byte."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE_SECONDS) == b""

    def stop_sending(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Vanish, as a program that is killed."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()


@asynccontextmanager
async def running(*, sweeps: bool = False, **options: Any) -> AsyncIterator[Setup]:
    """A server that listens. It ends connections that take too long only where a test is about that."""
    setup = Setup(**options)
    await setup.server.listen(LOOPBACK, setup.port)
    sweeping = asyncio.create_task(setup.server.sweep()) if sweeps else None
    yield setup
    await asyncio.wait_for(setup.server.stop(0.001), PATIENCE_SECONDS)
    if sweeping is not None:
        sweeping.cancel()


async def test_a_connection_serves_one_request_after_the_other():
    async with running() as setup:
        client = await setup.connect()
        for request, body in ((GET, b""), (POST, b"hello"), (GET, b"")):
            client.send(request)
            status, headers, answered = await client.response()
            assert (status, answered, headers["Content-Type"]) == (200, body, "text/plain")
            assert headers["Date"].endswith("GMT")
            assert "Connection" not in headers
    assert [(each.method, each.path, each.query, each.body) for each in setup.asked] == [
        ("GET", "/a", "b=c", b""),
        ("POST", "/p", "", b"hello"),
        ("GET", "/a", "b=c", b""),
    ]
    assert {each.peer for each in setup.asked} == {LOOPBACK}


async def test_requests_that_arrive_together_are_answered_in_order_one_at_a_time():
    async with running() as setup:
        client = await setup.with_one_under_way(POST + POST.replace(b"hello", b"world") + GET)
        client.send(POST.replace(b"hello", b"after"))
        await asyncio.sleep(0)
        assert len(setup.asked) == 1
        waiting, setup.answer = setup.answer, None
        waiting.set_result(Response(202, b"first"))
        assert [(await client.response())[::2] for _ in range(4)] == [
            (202, b"first"), (200, b"world"), (200, b""), (200, b"after"),
        ]  # fmt: skip


async def test_a_request_may_arrive_byte_by_byte():
    async with running() as setup:
        client = await setup.connect()
        for at in range(len(POST)):
            client.send(POST[at : at + 1])
            await asyncio.sleep(0)
        status, _, body = await client.response()
    assert (status, body) == (200, b"hello")
    assert [each.body for each in setup.asked] == [b"hello"]


async def test_a_body_in_chunks_is_put_together():
    async with running() as setup:
        client = await setup.connect()
        client.send(
            b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        )
        assert (await client.response())[2] == b"hello"


async def test_a_client_that_asks_first_whether_to_send_its_body_is_told_to():
    async with running() as setup:
        client = await setup.connect()
        head, _, body = POST.partition(b"\r\n\r\n")
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response(has_body=False))[0] == 100
        assert not setup.asked
        client.send(body)
        assert (await client.response())[::2] == (200, b"hello")


async def test_a_head_request_gets_the_head_alone():
    async with running() as setup:
        setup.answer = Response(200, b"hello")
        client = await setup.connect()
        client.send(GET.replace(b"GET", b"HEAD") + GET)
        status, headers, _ = await client.response(has_body=False)
        assert (status, headers["Content-Length"]) == (200, "5")
        assert (await client.response())[2] == b"hello"


async def test_a_response_without_content_announces_none():
    async with running() as setup:
        setup.answer = Response(204)
        client = await setup.connect()
        client.send(GET)
        _, headers, _ = await client.response()
    assert not {"Content-Length", "Content-Type"} & set(headers)


@pytest.mark.parametrize("request_", [GET.replace(b"1.1", b"1.0"), LAST])
async def test_a_client_that_wants_one_response_gets_it_and_an_end(request_):
    async with running() as setup:
        client = await setup.connect()
        client.send(request_)
        status, headers, _ = await client.response()
        assert (status, headers["Connection"]) == (200, "close")
        assert await client.is_closed()


async def test_a_client_that_has_stopped_sending_gets_its_response():
    async with running() as setup:
        setup.answer = asyncio.get_running_loop().create_future()
        client = await setup.connect()
        client.send(POST)
        client.stop_sending()
        await until(lambda: setup.asked)
        setup.answer.set_result(Response(202, b"safe"))
        status, headers, body = await client.response()
        assert (status, headers["Connection"], body) == (202, "close", b"safe")


async def test_a_request_is_finished_though_its_client_has_gone():
    async with running() as setup:
        client = await setup.with_one_under_way(POST)
        client.reset()
        await until(lambda: not setup.server._connections)
        setup.answer.set_result(Response(202))
        await asyncio.sleep(0)
        other = await setup.connect()
        other.send(GET)
        assert (await other.response())[0] == 202


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: %s\r\n" % (n, b"x" * 4_000) for n in range(9)),
            431,
            "headers_too_large",
        ),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: x\r\n" % n for n in range(120)) + b"\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", 413, "oversized"),
        (CHUNKED + b"65\r\n" + b"x" * 101, 413, "oversized"),
    ],
)
async def test_what_can_not_be_read_is_refused_and_the_connection_ends(request_, status, code):
    async with running() as setup:
        client = await setup.connect()
        client.send(request_)
        answered, headers, body = await client.response()
        assert (answered, headers["Connection"]) == (status, "close")
        assert code.encode() in body
        assert await client.is_closed()
    assert (setup.refused, setup.asked) == ([code], [])


async def test_a_body_may_be_as_large_as_the_limit():
    async with running() as setup:
        client = await setup.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
        assert (await client.response())[2] == b"x" * 100


async def test_connections_beyond_the_limit_are_refused_but_for_probes_until_one_ends():
    async with running(max_connections=1) as setup:
        first = await setup.connect()
        first.send(GET)
        assert (await first.response())[0] == 200
        second, probe = await setup.connect(), await setup.connect()
        second.send(GET)
        assert (await second.response())[0] == 429
        probe.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await probe.response())[0] == 200
        first.close()
        await until(lambda: not setup.server.limits.is_crowded)
        third = await setup.connect()
        third.send(GET)
        assert (await third.response())[0] == 200


async def test_connections_that_not_even_the_reserve_has_room_for_are_told_so_and_closed(monkeypatch):
    monkeypatch.setattr(limits_module, "RESERVED_CONNECTIONS", 0)
    async with running(max_connections=0) as setup:
        client = await setup.connect()
        status, headers, _ = await client.response()
        assert (status, headers["Connection"]) == (429, "close")
        assert await client.is_closed()
        await until(lambda: not setup.server._connections)
    assert setup.refused == ["rate_limited"]


async def test_unfinished_requests_are_counted_until_they_are_whole():
    async with running() as setup:
        client = await setup.connect()
        client.send(POST[:-4])
        await until(lambda: setup.server.limits._all.buffered_bytes == 1)
        client.send(POST[-4:-1])
        await until(lambda: setup.server.limits._all.buffered_bytes == 4)
        client.send(POST[-1:])
        await client.response()
        assert setup.server.limits._all.buffered_bytes == 0


async def test_requests_behind_one_that_is_under_way_are_counted_until_it_is_their_turn():
    async with running() as setup:
        client = await setup.with_one_under_way()
        client.send(GET)
        await until(lambda: setup.server.limits._all.buffered_bytes == len(GET))
        waiting, setup.answer = setup.answer, None
        waiting.set_result(Response(202))
        assert [(await client.response())[0] for _ in range(2)] == [202, 200]
        assert setup.server.limits._all.buffered_bytes == 0


async def test_a_client_that_reads_late_gets_all_its_responses_in_order():
    async with running() as setup:
        setup.answer = Response(200, b"x" * 20_000_000)
        client = await setup.connect()
        client.send(GET)
        await until(lambda: setup.asked)
        client.send(POST + GET)
        [connection] = setup.server._connections
        await until(lambda: connection._unparsed)
        assert len(setup.asked) == 1
        setup.answer = None
        assert [len((await client.response())[2]) for _ in range(3)] == [20_000_000, 5, 0]


# -- Times. What the sweep measures is set to nothing, and the sweep has nearly no pause.


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(server_module, "SWEEP_SECONDS", 0.001)

    def with_nothing(module: Any, name: str) -> None:
        monkeypatch.setattr(module, name, 0.0)

    return with_nothing


async def swept(setup: Setup) -> None:
    """Wait for two looks at the times; each sets the date anew."""
    for _ in range(2):
        date = setup.server.date
        await until(lambda date=date: setup.server.date is not date)


async def test_an_idle_connection_is_closed_without_a_word(impatient):
    impatient(server_module, "IDLE_TIMEOUT_SECONDS")
    async with running(sweeps=True) as setup:
        client = await setup.connect()
        assert await client.is_closed()
        await until(lambda: not setup.server._connections)
    assert setup.refused == []


async def test_an_idle_connection_may_stay_while_others_find_room(impatient):
    impatient(server_module, "CROWDED_IDLE_TIMEOUT_SECONDS")
    async with running(sweeps=True, max_connections=2) as setup:
        client = await setup.connect()
        client.send(GET)
        await client.response()
        await swept(setup)
        assert len(setup.server._connections) == 1
        other = await setup.connect()
        assert await client.is_closed()
        assert await other.is_closed()


async def test_a_request_that_does_not_arrive_in_time_is_refused(impatient):
    impatient(connection_module, "REQUEST_TIMEOUT_SECONDS")
    async with running(sweeps=True) as setup:
        client = await setup.connect()
        client.send(POST[:-1])
        status, _, body = await client.response()
        assert (status, b"body_timeout" in body) == (408, True)
        assert await client.is_closed()
    assert setup.asked == []


async def test_a_request_that_is_under_way_has_time(impatient):
    async with running(sweeps=True) as setup:
        client = await setup.with_one_under_way()
        impatient(server_module, "IDLE_TIMEOUT_SECONDS")
        impatient(connection_module, "REQUEST_TIMEOUT_SECONDS")
        impatient(connection_module, "WRITE_TIMEOUT_SECONDS")
        await swept(setup)
        assert len(setup.server._connections) == 1
        setup.answer.set_result(Response(202))
        assert (await client.response())[0] == 202


async def test_a_client_that_does_not_read_is_disconnected(impatient):
    impatient(connection_module, "WRITE_TIMEOUT_SECONDS")
    async with running(sweeps=True) as setup:
        setup.answer = Response(200, b"x" * 50_000_000)
        client = await setup.connect()
        client.send(GET)
        await until(lambda: setup.asked and not setup.server._connections)


# -- The end


async def test_a_server_that_stops_answers_what_is_under_way_and_takes_no_new_connections():
    setup = Setup()
    await setup.server.listen(LOOPBACK, setup.port)
    client = await setup.with_one_under_way()
    stopping = asyncio.create_task(setup.server.stop(PATIENCE_SECONDS))
    await until(lambda: setup.server.is_stopping)
    with pytest.raises(OSError, match="Connect call failed"):
        await setup.connect()
    assert not stopping.done()
    setup.answer.set_result(Response(202))
    status, headers, _ = await client.response()
    assert (status, headers["Connection"]) == (202, "close")
    client.close()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_an_idle_connection_is_closed_soon_after_the_server_is_told_to_stop(impatient):
    impatient(server_module, "STOP_IDLE_SECONDS")
    async with running(sweeps=True) as setup:
        client = await setup.connect()
        client.send(GET)
        await client.response()
        stopping = asyncio.create_task(setup.server.stop(PATIENCE_SECONDS))
        assert await client.is_closed()
        client.close()
        await asyncio.wait_for(stopping, PATIENCE_SECONDS)


async def test_what_is_still_under_way_after_the_grace_is_dropped():
    setup = Setup()
    await setup.server.listen(LOOPBACK, setup.port)
    client = await setup.with_one_under_way()
    await asyncio.wait_for(setup.server.stop(0.001), PATIENCE_SECONDS)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.response()


async def test_a_server_without_connections_stops_at_once():
    setup = Setup()
    await setup.server.listen(LOOPBACK, setup.port)
    await asyncio.wait_for(setup.server.stop(PATIENCE_SECONDS * 10), PATIENCE_SECONDS)
