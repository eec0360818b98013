"""A span for each request to the API, around the handler."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Handler, Reply

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing


def traced(handle: Handler, pattern_of: Callable[[str], str], tracing: "Tracing") -> Handler:
    """Return a handler that traces the API's requests, in the trace that their ``traceparent`` names, if any."""

    async def serve(request: Request) -> Response:
        pattern = pattern_of(request.path)
        with tracing.request(f"{request.method} {pattern}", request.headers.get("traceparent")) as span:
            span.set_attributes({"http.request.method": request.method, "http.route": pattern})
            response = await handle(request).response()
            span.set_attribute("http.response.status_code", response.status)
            return response

    return lambda request: Reply.when_done(serve(request)) if request.path.startswith("/api/") else handle(request)
