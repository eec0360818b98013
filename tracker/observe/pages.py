"""Pages for the operators of a stage, on a separate listener, because they are not meant for the public."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CONTENT_TYPE_LATEST

from tracker.errors import ConfigurationError
from tracker.observe.internal_token import InternalToken, check_inner_port, is_local_name

Page = Callable[[], web.Response]
#: A page that needs the request, such as for a part of its path.
RequestPage = Callable[[web.Request], Awaitable[web.Response]]

#: An orchestrator asks these without the secret, and is told yes or no.
PROBES: Final = frozenset({"/healthz", "/readyz"})

log: Final = structlog.get_logger()


@asynccontextmanager
async def serving(
    pages: Mapping[str, Page],
    host: str,
    port: int,
    *,
    token: InternalToken,
    port_setting: str,
    request_pages: Mapping[str, RequestPage] | None = None,
) -> AsyncIterator[None]:
    """Serve pages by their path, to clients that present the secret; without one, on this machine only.

    Raises:
        ConfigurationError: other machines reach the address and no secret is set, or the port can't be listened on;
            ``port_setting`` is the setting that moves it.
    """
    check_inner_port(host, port, token)
    app = web.Application(middlewares=[_guarded(token)])
    for path, page in pages.items():
        app.router.add_get(path, _handler(page))
    for path, request_page in (request_pages or {}).items():
        app.router.add_get(path, request_page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise cant_listen(host, port, error, port_setting) from None
        log.info("pages listening", url=f"http://{host}:{port}", pages=list(pages))
        yield
    finally:
        await runner.cleanup()


def metrics_page(exposition: Callable[[], bytes]) -> Page:
    """Return the page that Prometheus reads."""
    return lambda: web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def cant_listen(host: str, port: int, error: OSError, port_setting: str) -> ConfigurationError:
    """Return the error for a port that can't be listened on; it says what to do."""
    # asyncio's and libuv's own messages repeat the address; the system's reason is enough.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ConfigurationError(f"can't listen on {host}:{port} ({reason}): set {port_setting} to a free port")


def _guarded(token: InternalToken) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token.is_set:
            is_known = token.is_presented(request.headers.get("Authorization", ""))
        else:
            is_known = is_local_name(request.headers.get("Host", ""))
        if is_known:
            return await handler(request)
        if request.path in PROBES:
            return _yes_or_no(await handler(request))
        error = {"code": "unauthorized", "message": "send TRACKER_INTERNAL_TOKEN: Authorization: Bearer ..."}
        return web.json_response({"error": error}, status=401, headers={"WWW-Authenticate": "Bearer"})

    return guard


def _yes_or_no(answer: web.StreamResponse) -> web.Response:
    """Return an answer without its reasons, which may name hosts and topics."""
    is_well = answer.status == HTTPStatus.OK
    return web.json_response({"status": "ok" if is_well else "unavailable"}, status=answer.status)


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return page()

    return handle
