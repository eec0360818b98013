"""A Tinybird on a real socket that gives the answers it was told to, in order, and then takes everything.

The local Tinybird is strict but well; this one is ill on demand.
"""

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tracker.settings import Settings

TOKEN = "p.a-secret-token-that-nobody-may-see"

Answer = Callable[["Request"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Request:
    """One request as it came, unpacked, and the socket it came on."""

    http: web.Request
    peer: tuple[str, int]
    datasource: str
    body: bytes
    lines: list[bytes]
    at_seconds: float


@dataclass
class TinybirdDouble:
    """What came in, and what was taken. ``answers`` come first; ``default`` answers the rest."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    written: list[tuple[str, bytes]] = field(default_factory=list)

    def settings(self, **changed: object) -> Settings:
        return Settings.model_validate({"tinybird_url": self.url, "tinybird_token": TOKEN, **changed})

    async def default(self, request: Request) -> web.StreamResponse:
        self.written += [(request.datasource, line) for line in request.lines]
        return web.json_response({"successful_rows": len(request.lines), "quarantined_rows": 0})

    def rows(self, datasource: str) -> list[bytes]:
        return [line for name, line in self.written if name == datasource]

    async def handle(self, http: web.Request) -> web.StreamResponse:
        assert http.query["wait"] == "true"
        assert http.headers["Authorization"] == f"Bearer {TOKEN}"
        assert http.headers["Content-Encoding"] == "gzip"
        packed = await http.read()
        lines = gzip.decompress(packed).split(b"\n")
        assert http.transport is not None
        peer = http.transport.get_extra_info("peername")
        request = Request(http, peer, http.query["name"], packed, lines, asyncio.get_running_loop().time())
        self.requests.append(request)
        answer = self.answers.popleft() if self.answers else self.default
        return await answer(request)


def status(code: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: Request) -> web.StreamResponse:
        return web.Response(status=code, text=text, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return answer


def reset_before_answer(double: TinybirdDouble | None = None) -> Answer:
    """Close the connection without a word; with a double, after the rows have been written."""

    async def answer(request: Request) -> web.StreamResponse:
        if double is not None:
            await double.default(request)
        assert request.http.transport is not None
        request.http.transport.close()
        return web.Response()

    return answer


def refuse(is_bad: Callable[[bytes], bool], code: int, double: TinybirdDouble) -> Answer:
    """Take a request only as a whole, and only without a bad row."""

    async def answer(request: Request) -> web.StreamResponse:
        double.answers.appendleft(answer)
        for number, line in enumerate(request.lines, start=1):
            if is_bad(line):
                return web.json_response({"error": f"line {number} is bad"}, status=code)
        return await double.default(request)

    return answer


def limit_rows(max_rows: int, double: TinybirdDouble) -> Answer:
    """413 for more rows than these."""

    async def answer(request: Request) -> web.StreamResponse:
        double.answers.appendleft(answer)
        if len(request.lines) > max_rows:
            return web.json_response({"error": "too large"}, status=413)
        return await double.default(request)

    return answer


@asynccontextmanager
async def tinybird_double() -> AsyncIterator[TinybirdDouble]:
    double = TinybirdDouble()
    # Bodies are unpacked here, so that a test sees the bytes that were sent.
    app = web.Application(client_max_size=64_000_000)
    app.router.add_post("/v0/events", double.handle)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    double.url = f"http://{host}:{port}"
    try:
        yield double
    finally:
        await runner.cleanup()
