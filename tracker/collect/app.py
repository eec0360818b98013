"""The collector's application: its routes, the guard around every request, and its lifetime."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import orjson
import structlog

from topics.headers import Headers
from tracker.collect.access.admission import Edge, query_fields
from tracker.collect.api import responses as answers
from tracker.collect.api.events import Intake
from tracker.collect.api.pages import described, static
from tracker.collect.api.routes import PIXEL, SESSION, TRACK, Route, Routes
from tracker.collect.api.session_queries import SessionQueries, new_http_session
from tracker.collect.delivery.batch import NO_HEADERS
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Answer, Pending, Request, Response
from tracker.collect.live.feed import LiveFeed, check_local
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records import build as requests
from tracker.collect.records import visitor as visitors
from tracker.settings import Settings

#: Requests to the API that are served at the same time; beyond it they are answered 503 at once.
MAX_INFLIGHT_REQUESTS: Final = 2_000

_API: Final = "/api/"
_log = structlog.get_logger(__name__)


class Collector:
    """The endpoints, with what they share. ``handle`` is what a server calls."""

    def __init__(self, settings: Settings, record_headers: Callable[[], Headers] = lambda: NO_HEADERS) -> None:
        """Put the parts together; ``record_headers`` gives what the current request's records carry.

        Raises:
            ConfigurationError: a file that the settings name can't be used.
        """
        self._settings = settings
        self.metrics = CollectMetrics()
        self._edge = Edge(settings, self.metrics)
        self._producer = SourceProducer(settings, self.metrics)
        self._queries: SessionQueries | None = None
        self._live = LiveFeed(settings)
        self._resources = contextlib.AsyncExitStack()
        self._watching: asyncio.Task[None] | None = None
        self._inflight_requests = 0
        intake = Intake(settings, self._edge, self._producer, self.metrics, record_headers)
        fixed = (
            Route(TRACK, {"POST": intake.track}),
            Route(SESSION, {"POST": intake.open_session}),
            Route(PIXEL, {"GET": intake.pixel}),
            Route("/healthz", {"GET": health}),
            Route("/readyz", {"GET": self.ready}),
            Route("/tracker.js", {"GET": static("tracker.js", "text/javascript")}),
            Route("/demo", {"GET": static("demo.html", "text/html")}),
            Route("/live", {"GET": static("live.html", "text/html")}),
            Route("/live/data", {"GET": self.live_data}),
            Route("/docs", {"GET": static("docs.html", "text/html")}),
            Route("/openapi.json", {"GET": described(settings)}),
        )
        self.routes = Routes(
            fixed,
            session={"GET": self.session_state, "DELETE": intake.expire_session},
            flush={"POST": intake.flush_session},
        )

    async def start(self) -> None:
        """Open the spill and begin to connect to Kafka; does not wait for it.

        Raises:
            ConfigurationError: the spill's directory can't be used.
        """
        visitors.read_tables()
        await self._producer.start()
        if self._edge.keys is not None:
            self._watching = asyncio.create_task(self._edge.keys.watch(), name="collect-keys")
        http = await self._resources.enter_async_context(new_http_session())
        self._queries = SessionQueries(self._settings, http)

    async def until_direct(self, limit_seconds: float) -> None:
        """Wait until events go to Kafka directly, but not longer than this."""
        await self._producer.until_direct(limit_seconds)

    async def stop(self) -> None:
        """Flush what is unsettled and close; no request may be under way any more."""
        await self._live.stop()
        await self._producer.stop()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self._resources.aclose()
        self._edge.close()

    def handle(self, request: Request) -> Answer:
        """Answer whatever comes, at once or later but without an error, and count it."""
        route = self.routes.find(request.path)
        pattern = "unknown" if route is None else route.pattern
        try:
            answer = self._dispatch(route, request)
        except Exception as error:  # noqa: BLE001 - one broken request must not look like a broken server
            answer = self._failed(request, error)
        if isinstance(answer, Response):
            return self._answered(answer, request, pattern)
        self._inflight_requests += 1
        if isinstance(answer, Pending):
            return Pending(answer.settled, partial(self._resolve, answer, request, pattern))
        return self._finish(answer, request, pattern)

    def _dispatch(self, route: Route | None, request: Request) -> Answer:
        if route is None:
            raise RequestError("not_found", "there is nothing at this address")
        endpoint = route.endpoint(request.method)
        if endpoint is None:
            if request.method == "OPTIONS" and request.path.startswith(_API):
                return self._edge.preflight(request)
            response = answers.failed(RequestError("method_not_allowed", "this address does not take this method"))
            response.headers.append(("Allow", ", ".join(route.methods)))
            return response
        if request.path.startswith(_API) and self._inflight_requests >= MAX_INFLIGHT_REQUESTS:
            raise RequestError("overloaded", "too many requests at once")
        return endpoint(request)

    def _resolve(self, pending: Pending, request: Request, pattern: str) -> Response:
        self._inflight_requests -= 1
        try:
            response = pending.resolve()
        except Exception as error:  # noqa: BLE001 - likewise
            response = self._failed(request, error)
        return self._answered(response, request, pattern)

    async def _finish(self, answer: Coroutine[Any, Any, Response], request: Request, pattern: str) -> Response:
        try:
            response = await answer
        except Exception as error:  # noqa: BLE001 - likewise
            response = self._failed(request, error)
        finally:
            self._inflight_requests -= 1
        return self._answered(response, request, pattern)

    def _answered(self, response: Response, request: Request, pattern: str) -> Response:
        if "Origin" in request.headers and request.path.startswith(_API):
            response.headers += self._edge.cors_headers(request)
        self.metrics.count_request(pattern, response.status)
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, RequestError):
            return answers.failed(error)
        # Its text may repeat what the client sent; the renderer has to keep it inert.
        _log.error("a request failed", method=request.method, path=request.path, exc_info=error)
        return answers.failed(RequestError("internal", "this is a fault of ours; it has been logged"))

    # -- Endpoints ------------------------------------------------------------------------------------------------

    async def session_state(self, request: Request) -> Response:
        """Answer with a session's state, as its owner sees it now; a read key sees its own workspace's only."""
        reader = self._edge.reader(request)
        session_id = requests.session_id_from_path(request.path.removeprefix(SESSION + "/"))
        if self._queries is None:
            raise RequestError("processor_unavailable", "the collector is starting")
        state = await self._queries.state(session_id, None if reader is None else reader.workspace_id)
        response = answers.json_bytes(state)
        response.headers.append(("Cache-Control", "no-store"))
        return response

    async def ready(self, _: Request) -> Response:
        """Say whether events can be accepted now, and if not, why."""
        return answers.json_bytes(orjson.dumps(await self._producer.readiness()))

    async def live_data(self, request: Request) -> Response:
        """Answer with what ``/live`` shows: a read key's workspace, or all where there are no keys, on this machine."""
        reader = self._edge.reader(request)
        if reader is None:
            check_local(request)
        workspace = None if reader is None else reader.workspace_id
        response = answers.json_bytes(self._live.data(workspace, query_fields(request.query).get("session", "")))
        response.headers.append(("Cache-Control", "no-store"))
        return response


def health(_: Request) -> Response:
    """Say that the process is alive."""
    return answers.json_bytes(b'{"status":"ok"}')
