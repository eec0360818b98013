"""Passes a request to its endpoint, and makes a response of the result or the error: CORS headers, metrics."""

from functools import partial
from typing import Final

import structlog

from tracker.collect.access.admission import Admission
from tracker.collect.api.routes import UNKNOWN, Endpoint, Route, Routes
from tracker.collect.errors import RequestError
from tracker.collect.http.error_response import error_response
from tracker.collect.http.messages import Headers, Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics

#: Requests to the API that are served at the same time; more are answered 503 at once.
MAX_INFLIGHT_REQUESTS: Final = 2_000
#: Paths for probes. They are answered also to those who have used up their connections and their rate.
PROBES: Final = frozenset({"/healthz", "/readyz"})

_API: Final = "/api/"

log = structlog.get_logger()


class Dispatcher:
    """Finds the endpoint of each request and turns its result into a response."""

    def __init__(self, routes: Routes, admission: Admission, metrics: CollectMetrics) -> None:
        self._routes = routes
        self._admission = admission
        self._metrics = metrics
        self._inflight_requests = 0

    def handle(self, request: Request) -> Reply:
        """Reply to any request, with a response also for errors, and count it."""
        route = self._routes.find(request.path)
        cors_headers: Headers | None = None
        try:
            reply = self._endpoint(route, request)(request)
            cors_headers = reply.cors_headers
            if reply.ready is None:
                return Reply.now(self._finished(reply.respond(), route, self._cors(request, cors_headers)))
        except Exception as error:  # noqa: BLE001 - one broken request must not look like a broken server
            response = _failed(request.method, request.path, error)
            return Reply.now(self._finished(response, route, self._cors(request, cors_headers)))
        self._inflight_requests += 1
        # Not the request itself: its body would stay in memory until the response is made.
        what = (request.method, request.path, route)
        return Reply(reply.ready, partial(self._respond_later, reply, what, self._cors(request, cors_headers)))

    def _endpoint(self, route: Route, request: Request) -> Endpoint:
        is_api = request.path.startswith(_API)
        endpoint = route.endpoint(request.method)
        if endpoint is not None and is_api:
            if self._inflight_requests >= MAX_INFLIGHT_REQUESTS:
                raise RequestError("overloaded", "too many requests at once")
            return endpoint
        if is_api and route is not UNKNOWN and request.method == "OPTIONS":
            return self._preflight
        if request.path not in PROBES:
            self._admission.visitor(request)
        if route is UNKNOWN:
            raise RequestError("not_found", "there is nothing at this address")
        return endpoint or partial(_wrong_method, route)

    def _preflight(self, request: Request) -> Reply:
        return Reply.now(self._admission.preflight(request))

    def _respond_later(self, reply: Reply, what: tuple[str, str, Route], cors_headers: Headers) -> Response:
        self._inflight_requests -= 1
        method, path, route = what
        try:
            response = reply.respond()
        except Exception as error:  # noqa: BLE001 - as in handle()
            response = _failed(method, path, error)
        return self._finished(response, route, cors_headers)

    def _cors(self, request: Request, cors_headers: Headers | None) -> Headers:
        if cors_headers is not None:
            return cors_headers
        return self._admission.cors_headers(request) if request.path.startswith(_API) else ()

    def _finished(self, response: Response, route: Route, cors_headers: Headers) -> Response:
        if route.form is not None:
            response = route.form(response)
        if cors_headers:
            response.headers += cors_headers
        self._metrics.count_request(route.pattern, response.status)
        return response


def _failed(method: str, path: str, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return error_response(error)
    # The error's text may repeat values of the request; the renderer keeps control characters out of the log.
    log.error("a request failed", method=method, path=path, exc_info=error)
    return error_response(RequestError("internal", "this is a fault of ours; it has been logged"))


def _wrong_method(route: Route, _: Request) -> Reply:
    response = error_response(RequestError("method_not_allowed", "this address does not take this method"))
    response.headers.append(("Allow", ", ".join(route.methods)))
    return Reply.now(response)
