"""A Tinybird with real ClickHouse behind it that fails in every way that the real one can, at random, from a seed.

What happens to a request is drawn; what happens to a row stands in the row, so that it is the same each time it comes.
"""

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

import aiohttp
from aiohttp import web

from tests.fixtures.tinybird import LocalTinybird
from tracker.local.ports import LOOPBACK

#: In a row, what this Tinybird makes of it.
REFUSED: Final = "fate-400"  # the whole request is refused
PARTIAL: Final = "fate-422-lost"  # a view fails: this row is not written, the others are
VIEW_FAILED: Final = "fate-422-written"  # a view fails, but the row itself is written
QUARANTINED: Final = "fate-quarantine"
ROW_FATES: Final = (REFUSED, PARTIAL, VIEW_FAILED, QUARANTINED)
WHY_REFUSED: Final = "this row is refused"

#: How many requests of a hundred meet each fault.
FAULT_PERCENT: Final = {
    "500": 3,
    "503": 3,
    "reset before the write": 4,
    "reset after the write": 4,
    "write, then 504": 3,
    "200 without counts": 2,
    "202": 2,
    "stall": 2,
    "429 storm": 2,
}


@dataclass
class FaultyTinybird:
    """Passes requests on to a local Tinybird, or not."""

    upstream: LocalTinybird
    rng: Random
    stall_seconds: float
    storm_seconds: float
    url: str = ""
    http: aiohttp.ClientSession = field(init=False)
    injected: Counter[str] = field(default_factory=Counter)
    is_away: bool = False
    requests_while_away: int = 0
    _storm_until_seconds: float = 0.0

    async def events(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.is_away:
            self.requests_while_away += 1
            return web.Response(status=503) if self.requests_while_away % 2 else self._reset(request)
        if asyncio.get_running_loop().time() < self._storm_until_seconds:
            return self._too_many()
        fault = self._draw()
        if fault is not None:
            self.injected[fault] += 1
            return await self._fault(fault, request, body)
        return await self._write(request, body)

    async def sql(self, request: web.Request) -> web.StreamResponse:
        if self.is_away or self.rng.random() < 0.1:
            return web.Response(status=500)
        return await self._pass_on("/v0/sql", {}, await request.read())

    def _draw(self) -> str | None:
        at = self.rng.uniform(0, 100)
        for fault, percent in FAULT_PERCENT.items():
            at -= percent
            if at < 0:
                return fault
        return None

    async def _fault(self, fault: str, request: web.Request, body: bytes) -> web.StreamResponse:
        if fault in {"500", "503"}:
            return web.Response(status=int(fault), text="<html>not now</html>")
        if fault == "reset before the write":
            return self._reset(request)
        if fault == "429 storm":
            self._storm_until_seconds = asyncio.get_running_loop().time() + self.storm_seconds
            return self._too_many()
        if fault == "stall":
            # Whoever sent it has given up by then, and sent it again; it is written all the same.
            await asyncio.sleep(self.stall_seconds)
        return self._garble(fault, request, await self._write(request, body))

    def _garble(self, fault: str, request: web.Request, written: web.StreamResponse) -> web.StreamResponse:
        if fault == "reset after the write":
            return self._reset(request)
        if fault == "write, then 504":
            return web.Response(status=504)
        if fault in {"200 without counts", "202"} and written.status == 200:
            return web.Response(status=int(fault[:3]), text="{}")
        return written

    async def _write(self, request: web.Request, body: bytes) -> web.StreamResponse:
        lines = gzip.decompress(body).split(b"\n")
        refused = [number for number, line in enumerate(lines, start=1) if REFUSED.encode() in line]
        if refused:
            self.injected["400"] += 1
            return web.json_response({"error": f"line {refused[0]}: {WHY_REFUSED}"}, status=400)
        partial = any(fate.encode() in line for line in lines for fate in (PARTIAL, VIEW_FAILED))
        kept = [_broken(line) for line in lines if PARTIAL.encode() not in line]
        answer = await self._pass_on(
            "/v0/events",
            {"name": request.query["name"], "wait": "true"},
            zlib.compress(b"\n".join(kept), 1, 31) if kept else b"",
            {"Content-Encoding": "gzip"},
        )
        if partial and answer.status == 200:
            self.injected["422"] += 1
            return web.json_response({"error": "a materialized view failed"}, status=422)
        return answer

    async def _pass_on(
        self, path: str, params: dict[str, str], body: bytes, headers: dict[str, str] | None = None
    ) -> web.Response:
        if not body:
            return web.Response(text="{}")
        async with self.http.post(self.upstream.url + path, params=params, data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    def _too_many(self) -> web.Response:
        self.injected["429"] += 1
        return web.Response(
            status=429, headers={"Retry-After": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
        )

    def _reset(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def _broken(line: bytes) -> bytes:
    """A row that is to be quarantined gets a number that is none, on its way to ClickHouse."""
    if QUARANTINED.encode() not in line:
        return line
    for column in (b'"session_event_sequence":', b'"event_count":'):
        line = line.replace(column, column + b'"x",' + b'"was":')
    return line


@asynccontextmanager
async def faulty_tinybird(
    upstream: LocalTinybird, seed: int, *, stall_seconds: float, storm_seconds: float
) -> AsyncIterator[FaultyTinybird]:
    faulty = FaultyTinybird(upstream, Random(seed), stall_seconds, storm_seconds)
    handlers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
        "/v0/events": faulty.events,
        "/v0/sql": faulty.sql,
    }
    # Bodies are passed on as they came.
    app = web.Application(client_max_size=64_000_000)
    for path, handler in handlers.items():
        app.router.add_post(path, handler)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    host, port = runner.addresses[0][:2]
    faulty.url = f"http://{host}:{port}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {upstream.token}"}) as faulty.http:
        try:
            yield faulty
        finally:
            await runner.cleanup()
