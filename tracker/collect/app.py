"""The collector's web application: its routes, the guard around every request, and its lifetime."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import Any, Final

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tracker import clock
from tracker.collect import answers, requests
from tracker.collect.cookies import session_cookie, session_from_cookie
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.producer import SourceProducer
from tracker.collect.sessions import SessionQueries, new_http_session
from tracker.settings import Settings

#: Requests to the API that are served at the same time; beyond it they are answered 503 at once.
MAX_INFLIGHT_REQUESTS: Final = 2_000
#: A body must have arrived within this time.
BODY_TIMEOUT_SECONDS: Final = 10.0
#: Browsers may keep the script this long without asking.
STATIC_MAX_AGE_SECONDS: Final = 60

_API: Final = "/api/"
_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Collector:
    """The handlers, with what they share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = CollectMetrics()
        self._producer = SourceProducer(settings, self._metrics)
        self._queries: SessionQueries | None = None
        self._inflight_requests = 0
        #: Set when the process is about to end: every answer then asks its client to connect anew.
        self.closing = False

    def app(self) -> web.Application:
        """Return the application; it connects when it starts and flushes when it is cleaned up."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=self._settings.collect_max_body_bytes)
        app.cleanup_ctx.append(self._lifetime)
        app.router.add_post("/api/v1/events/track", self.track)
        app.router.add_post("/api/v1/events/session", self.open_session)
        app.router.add_get("/api/v1/events/session/{id}", self.session_state)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/tracker.js", static("tracker.js", "text/javascript"))
        app.router.add_get("/demo", static("demo.html", "text/html"))
        return app

    async def track(self, request: web.Request) -> web.Response:
        """Take one event, or a batch of them."""
        fields = await self._read_object(request)
        context = self._context(request)
        max_age_seconds = self._settings.session_timeout_seconds
        if "batch" in fields:
            records = requests.event_batch(fields, context)
            await self._producer.deliver(records)
            kept = next((record for record in records if record.cookie), records[0])
            return self._keep_session(answers.accepted_batch(records), kept, max_age_seconds)
        record = requests.event_record(fields, context)
        await self._producer.deliver([record])
        return self._keep_session(answers.accepted(record), record, max_age_seconds)

    async def open_session(self, request: web.Request) -> web.Response:
        """Open a session, or add to its context."""
        default_seconds = self._settings.session_timeout_seconds
        fields = await self._read_object(request)
        context = self._context(request)
        record = requests.session_record(fields, context, default_timeout_seconds=default_seconds)
        await self._producer.deliver([record])
        max_age_seconds = fields.get("timeout_seconds", default_seconds)
        return self._keep_session(answers.accepted(record), record, max_age_seconds)

    async def session_state(self, request: web.Request) -> web.Response:
        """Answer with a session's state, as its owner sees it now."""
        # The raw path, because match_info has lost bytes that are not UTF-8.
        session_id = requests.session_id_from_path(request.rel_url.raw_path.rpartition("/")[2])
        if self._queries is None:
            raise RequestError("processor_unavailable", "the collector is starting")
        response = answers.json_bytes(await self._queries.state(session_id))
        response.headers["Cache-Control"] = "no-store"
        return response

    async def health(self, _: web.Request) -> web.Response:
        """Say that the process is alive."""
        return answers.json_bytes(b'{"status":"ok"}')

    async def ready(self, _: web.Request) -> web.Response:
        """Say whether events can be accepted now, and if not, why."""
        return answers.json_bytes(orjson.dumps(await self._producer.readiness()))

    async def metrics(self, _: web.Request) -> web.Response:
        """Show the figures in Prometheus' text format."""
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _read_object(self, request: web.Request) -> dict[str, Any]:
        requests.check_media_type(request.headers.get("Content-Type"))
        limit_bytes = self._settings.collect_max_body_bytes
        if (request.content_length or 0) > limit_bytes:
            raise RequestError("oversized", f"the body is larger than {limit_bytes} bytes")
        try:
            if request.content.is_eof():
                # Nearly always: the body has come with the head, and needs no timer.
                body = await request.read()
            else:
                async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                    body = await request.read()
        except TimeoutError:
            raise RequestError("body_timeout", "the body did not arrive in time") from None
        except web.RequestPayloadError:
            raise RequestError("bad_request", "the body is not encoded as its headers say") from None
        return requests.parse_object(body)

    def _context(self, request: web.Request) -> requests.Context:
        # Services send no cookies; aiohttp's parser is not free even for none.
        cookies = request.cookies if "Cookie" in request.headers else {}
        session_id = session_from_cookie(cookies, self._settings.cookie_name)
        return requests.Context(clock.now_iso(), clock.new_id, session_id)

    def _keep_session(self, response: web.Response, record: requests.Outgoing, max_age_seconds: int) -> web.Response:
        """Set the cookie, or move its end, if the record's session came from there or was minted."""
        if record.cookie:
            name, secure = self._settings.cookie_name, self._settings.cookie_secure
            cookie = session_cookie(name, record.session_id, max_age_seconds=max_age_seconds, secure=secure)
            response.headers["Set-Cookie"] = cookie
        return response

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Bound what is under way, answer whatever happens, and count it."""
        is_api = request.path.startswith(_API)
        if is_api and self._inflight_requests >= MAX_INFLIGHT_REQUESTS:
            response: web.StreamResponse = answers.failed(RequestError("overloaded", "too many requests at once"))
        else:
            self._inflight_requests += is_api
            try:
                response = await self._answer(request, handler)
            finally:
                self._inflight_requests -= is_api
        if is_api and request.method == "POST":
            name, value = answers.CORS_HEADER
            response.headers[name] = value
        if self.closing:
            response.force_close()
        resource = request.match_info.route.resource
        endpoint = "unknown" if resource is None else resource.canonical
        self._metrics.count_request(endpoint, response.status)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return answers.failed(error)
        except web.HTTPException as exception:
            return answers.from_http_exception(exception)
        except Exception:  # noqa: BLE001 - one broken request must not look like a broken server
            _log.exception("request_failed", method=request.method, path=request.path)
            return answers.failed(RequestError("internal", "this is a fault of ours; it has been logged"))

    async def _lifetime(self, _: web.Application) -> AsyncIterator[None]:
        self._producer.start()
        async with new_http_session() as http:
            self._queries = SessionQueries(self._settings, http)
            yield
        await self._producer.stop()


def static(name: str, content_type: str) -> Handler:
    """Return a handler for one of the package's own files, read once."""
    body = resources.files("tracker.collect").joinpath("static", name).read_bytes()
    headers = {
        "Content-Type": f"{content_type}; charset=utf-8",
        "Cache-Control": f"max-age={STATIC_MAX_AGE_SECONDS}",
        "X-Content-Type-Options": "nosniff",
    }

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return serve
