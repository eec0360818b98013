"""What stands between a browser and the collector: it passes everything on, notes it, and injects faults on demand.

It also serves the tests' pages, so that a page and its collector have one origin, as behind a site's own proxy.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import aiohttp
import orjson
from aiohttp import web

from tests.patience import PATIENCE_SECONDS
from tracker.local.ports import LOOPBACK, free_port

_HOP_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})

POLL_SECONDS: Final = 0.02

#: Notes what the tracker shows for people who look.
WITNESS: Final = """<!doctype html>
<script>window.shown = []; document.addEventListener("tracker", ({ detail }) => shown.push(detail))</script>"""
SCRIPT: Final = '<script src="/tracker.js" data-debug></script>'

#: A page of three screens, with a link, a button and a form.
PAGE: Final = """{witness}<title>{title}</title>
<style>body {{ margin: 0 }} div {{ height: 1000px }}</style>
<script src="{origin}/tracker.js" data-debug {attributes}></script>
<noscript>{noscript}</noscript>
<div><button id="buy">Buy</button> <a id="next" href="/page/next?{attributes_query}">Next</a>
<form id="letter" action="/page/thanks"><input id="email" name="email" value=""><input type="submit" id="send"></form>
</div><div></div><div></div>"""

#: What is needed of a page's policy: the script's and the collector's origin, no inline script, no eval.
STRICT_POLICY: Final = "default-src 'none'; script-src 'self'; connect-src 'self'"


@dataclass
class Gate:
    """The faults that are on, and what has come."""

    collector_url: str
    url: str
    status: int = 0  # answer this instead of passing on
    retry_after: str = ""
    is_cutting: bool = False  # pass on, then end the connection instead of answering
    is_cookieless: bool = False
    max_items: int = 0  # answer 413 to larger batches
    poison: str | None = None  # what a firewall on the way refuses, without a word
    poison_status: int = 0
    noscript: str = ""  # what pages have for browsers without scripts
    pages: dict[str, str] = field(default_factory=dict)  # in place of the page of three screens, by their paths
    headers: dict[str, str] = field(default_factory=dict)  # what pages come with
    aliases: dict[str, str] = field(default_factory=dict)  # other names for the collector's paths
    passing: asyncio.Event = field(default_factory=asyncio.Event)  # unset: requests wait here
    requests: list[dict[str, Any]] = field(default_factory=list)

    def reset(self) -> None:
        """Turn all faults off and forget what has come."""
        self.status, self.retry_after, self.is_cutting, self.is_cookieless, self.max_items = 0, "", False, False, 0
        self.requests, self.noscript, self.pages, self.headers = [], "", {}, {}
        self.aliases, self.poison, self.poison_status = {}, None, 0
        self.passing.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events that have come, repeated ones too, in the order in which they came."""
        bodies = [request["body"] for request in self.requests if request["path"].endswith("/track")]
        return [event for body in bodies for event in body.get("batch", [body])]

    async def until(self, is_there: Callable[["Gate"], bool]) -> None:
        """Wait until what has come is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_there(self):  # noqa: ASYNC110 - the condition is the test's own
                await asyncio.sleep(POLL_SECONDS)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/page/"):
            return self._page(request)
        body = await request.read()
        if request.method == "POST":
            fields = orjson.loads(body)
            self.requests.append({"path": request.path, "body": fields, "at": time.monotonic()})
            await self.passing.wait()
            if self.poison is not None and self.poison in body.decode():
                return web.Response(status=self.poison_status, text="<h1>Forbidden</h1>", content_type="text/html")
            is_large = 0 < self.max_items < len(fields.get("batch", ()))
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_large else self.status
            if status:
                headers = {"Retry-After": self.retry_after} if self.retry_after else {}
                return web.json_response({"error": {"message": "a fault"}}, status=status, headers=headers)
        return await self._pass_on(request, body)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        dropped = _HOP_HEADERS | ({"cookie", "set-cookie"} if self.is_cookieless else set())
        headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
        address = self.aliases.get(request.path, request.path) + f"?{request.query_string}"
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as http,
            http.request(request.method, self.collector_url + address, data=body, headers=headers) as answer,
        ):
            content = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in dropped]
            if self.is_cutting and request.method == "POST":
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=answer.status, body=content, headers=kept)

    def _page(self, request: web.Request) -> web.Response:
        headers = dict(self.headers)
        if request.path in self.pages:
            return web.Response(text=self.pages[request.path], content_type="text/html", headers=headers)
        query = request.query_string
        attributes = " ".join(f'{name}="{values[0]}"' for name, values in parse_qs(query).items())
        origin = request.query.get("data-endpoint", "")
        text = PAGE.format(
            witness=WITNESS,
            title=request.path,
            origin=origin,
            attributes=attributes,
            attributes_query=query,
            noscript=self.noscript,
        )
        if request.path == "/page/strict":
            headers["Content-Security-Policy"] = STRICT_POLICY
        return web.Response(text=text, content_type="text/html", headers=headers)


@asynccontextmanager
async def running_gate(collector_url: str) -> AsyncIterator[Gate]:
    """Open a gate in front of a collector."""
    port = free_port()
    gate = Gate(collector_url, f"http://{LOOPBACK}:{port}")
    gate.reset()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gate.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    yield gate
    gate.reset()
    await runner.cleanup()
