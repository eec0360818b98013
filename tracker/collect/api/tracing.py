"""A span for each request to the API, around whatever answers it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tracker.collect.http.messages import Answer, Request, Response

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing


def traced(
    handle: Callable[[Request], Answer], pattern_of: Callable[[str], str], tracing: "Tracing"
) -> Callable[[Request], Answer]:
    """Return a handler that traces the API's requests, in the trace that their ``traceparent`` names, if any."""

    async def serve(request: Request) -> Response:
        pattern = pattern_of(request.path)
        with tracing.request(f"{request.method} {pattern}", request.headers.get("traceparent")) as span:
            span.set_attributes({"http.request.method": request.method, "http.route": pattern})
            answer = handle(request)
            response = answer if isinstance(answer, Response) else await answer
            span.set_attribute("http.response.status_code", response.status)
            return response

    return lambda request: serve(request) if request.path.startswith("/api/") else handle(request)
