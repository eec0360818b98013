"""The collector's application: its parts, its routes, and the guard around every request."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from topics.headers import Headers as RecordHeaders
from tracker.collect.access.admission import Admission
from tracker.collect.access.keys import KeyRing, read_keys
from tracker.collect.api import responses
from tracker.collect.api.events import EventEndpoints
from tracker.collect.api.operations import OperationsEndpoints
from tracker.collect.api.pages import described, static
from tracker.collect.api.readiness import Readiness
from tracker.collect.api.reports import ReportEndpoints
from tracker.collect.api.routes import PIXEL, SESSION, TRACK, UNKNOWN, Endpoint, Route, Routes
from tracker.collect.api.session_queries import SessionQueries, new_http_session
from tracker.collect.api.sessions import SessionEndpoints
from tracker.collect.api.write_path import WritePath
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.delivery.record_batch import NO_HEADERS
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.errors import RequestError
from tracker.collect.http.error_response import error_response
from tracker.collect.http.messages import Headers, Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.live.feed import LiveFeed
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.visitor import read_tables
from tracker.collect.reports.pipes import ReportPipes, new_report_session
from tracker.migration.flags import Flags, read_flags
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.processes.watched_file import WatchedFile
from tracker.settings import Settings

#: Requests to the API that are served at the same time; more are answered 503 at once.
MAX_INFLIGHT_REQUESTS: Final = 2_000

_API: Final = "/api/"

log = structlog.get_logger()


class Collector:
    """The endpoints and the parts that they share. A server calls ``handle``."""

    def __init__(self, settings: Settings, record_headers: Callable[[], RecordHeaders] = lambda: NO_HEADERS) -> None:
        """Put the parts together; ``record_headers`` returns the headers of the current request's records.

        Raises:
            ConfigurationError: a file in the settings can't be used.
        """
        self._settings = settings
        self.metrics = CollectMetrics()
        self._keys_file = self._watched_keys(settings)
        self._admission = Admission(settings, None if self._keys_file is None else self._keys_file.value)
        self._flags_file, self._router = watched_flags(settings)
        self._producer = SourceProducer(settings, self._router, self.metrics)
        self._readiness = Readiness(self._producer, self._flags_file)
        self._live = LiveFeed(settings)
        self._reports = ReportEndpoints(self._admission)
        self._resources = contextlib.AsyncExitStack()
        self._inflight_requests = 0
        path = WritePath(settings, self._admission, self._producer, self.metrics, record_headers)
        self._sessions = SessionEndpoints(settings, path, self._admission)
        self.routes = self._routes(EventEndpoints(settings, path, self.metrics))
        self._use_keys()

    async def start(self, tasks: SupervisedTasks) -> None:
        """Open the spill and begin to connect to Kafka; does not wait for it.

        Raises:
            ConfigurationError: the spill's directory can't be used.
        """
        read_tables()
        await self._producer.start(tasks)
        self._readiness.tasks = tasks
        self._live.start(tasks)
        if self._keys_file is not None:
            tasks.loop("keys file watch", self._keys_file.watch)
        if self._flags_file is not None:
            tasks.loop("migration file watch", self._flags_file.watch)
        http = await self._resources.enter_async_context(new_http_session())
        self._sessions.queries = SessionQueries(self._settings, http)
        reports_http = await self._resources.enter_async_context(new_report_session())
        self._reports.pipes = ReportPipes(self._settings, reports_http)

    async def until_direct(self, limit_seconds: float) -> None:
        """Wait until events go to Kafka directly, but not longer than this."""
        await self._producer.until_direct(limit_seconds)

    async def stop(self) -> None:
        """Flush and close everything; no request may be under way any more."""
        await self._live.stop()
        await self._producer.stop()
        await self._resources.aclose()
        self._admission.close()

    def handle(self, request: Request) -> Reply:
        """Reply to any request, with a response also for errors, and count it."""
        route = self.routes.find(request.path)
        try:
            reply = self._endpoint(route, request)(request)
        except Exception as error:  # noqa: BLE001 - one broken request must not look like a broken server
            return Reply.now(self._finished(self._failed(request, error), request, route, None))
        if reply.ready is None:
            return Reply.now(self._respond(reply, request, route))
        self._inflight_requests += 1
        return Reply(reply.ready, partial(self._respond_later, reply, request, route))

    def _routes(self, events: EventEndpoints) -> Routes:
        sessions = self._sessions
        operations = OperationsEndpoints(self._admission, self._readiness, self._live)
        fixed = (
            Route(TRACK, {"POST": events.track}),
            Route(SESSION, {"POST": sessions.open_session}),
            Route(PIXEL, {"GET": events.pixel}, responses.as_pixel),
            Route("/healthz", {"GET": operations.health}),
            Route("/readyz", {"GET": operations.ready}),
            Route("/tracker.js", {"GET": static("tracker.js", "text/javascript")}),
            Route("/demo", {"GET": static("demo.html", "text/html")}),
            Route("/live", {"GET": static("live.html", "text/html")}),
            Route("/live/data", {"GET": operations.live_data}),
            Route("/reports", {"GET": static("reports.html", "text/html")}),
            Route("/reports.js", {"GET": static("reports.js", "text/javascript")}),
            Route("/reports.css", {"GET": static("reports.css", "text/css")}),
            Route("/reports/data", {"GET": self._reports.data}),
            Route("/docs", {"GET": static("docs.html", "text/html")}),
            Route("/openapi.json", {"GET": described(self._settings)}),
        )
        return Routes(
            fixed,
            session={"GET": sessions.session_state, "DELETE": sessions.expire_session},
            flush={"POST": sessions.flush_session},
        )

    def _watched_keys(self, settings: Settings) -> WatchedFile[KeyRing] | None:
        if settings.keys_file is None:
            return None
        return WatchedFile(settings.keys_file, read_keys, what="keys file", on_change=self._use_keys)

    def _use_keys(self) -> None:
        if self._keys_file is None:
            return
        self._admission.keys = self._keys_file.value
        self.metrics.keys.set(len(self._keys_file.value))
        self.metrics.keys_file_valid.set(self._keys_file.problem is None)

    def _endpoint(self, route: Route, request: Request) -> Endpoint:
        if route is UNKNOWN:
            raise RequestError("not_found", "there is nothing at this address")
        is_api = request.path.startswith(_API)
        endpoint = route.endpoint(request.method)
        if endpoint is None:
            return self._preflight if is_api and request.method == "OPTIONS" else partial(_wrong_method, route)
        if is_api and self._inflight_requests >= MAX_INFLIGHT_REQUESTS:
            raise RequestError("overloaded", "too many requests at once")
        return endpoint

    def _preflight(self, request: Request) -> Reply:
        return Reply.now(self._admission.preflight(request))

    def _respond_later(self, reply: Reply, request: Request, route: Route) -> Response:
        self._inflight_requests -= 1
        return self._respond(reply, request, route)

    def _respond(self, reply: Reply, request: Request, route: Route) -> Response:
        try:
            response = reply.respond()
        except Exception as error:  # noqa: BLE001 - as in handle()
            response = self._failed(request, error)
        return self._finished(response, request, route, reply.cors_headers)

    def _finished(self, response: Response, request: Request, route: Route, cors_headers: Headers | None) -> Response:
        if route.form is not None:
            response = route.form(response)
        if "Origin" in request.headers and request.path.startswith(_API):
            response.headers += self._admission.cors_headers(request) if cors_headers is None else cors_headers
        self.metrics.count_request(route.pattern, response.status)
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, RequestError):
            return error_response(error)
        # The error's text may repeat values of the request; the renderer keeps control characters out of the log.
        log.error("a request failed", method=request.method, path=request.path, exc_info=error)
        return error_response(RequestError("internal", "this is a fault of ours; it has been logged"))


def watched_flags(settings: Settings) -> tuple[WatchedFile[Flags] | None, TopicRouter]:
    """Return the file with the flags of a migration, if there is one, and the router that uses them."""
    if settings.migration_file is None:
        return None, TopicRouter(settings, None)
    router = TopicRouter(settings, read_flags(settings.migration_file))

    def use_flags() -> None:
        router.flags = file.value

    file = WatchedFile(
        settings.migration_file, read_flags, what="migration file", check=router.why_not, on_change=use_flags
    )
    use_flags()
    return file, router


def _wrong_method(route: Route, _: Request) -> Reply:
    response = error_response(RequestError("method_not_allowed", "this address does not take this method"))
    response.headers.append(("Allow", ", ".join(route.methods)))
    return Reply.now(response)
