"""Errors as responses: one JSON form for all of them."""

from typing import Final

import orjson

from tracker.collect.errors import ErrorCode, RequestError
from tracker.collect.http.messages import Response

#: With these a client is told when to try again.
RETRY_STATUS: Final = frozenset({429, 503})
#: A client that is told so and goes on at once is read more slowly.
SLOWED_DOWN: Final[frozenset[ErrorCode]] = frozenset({"rate_limited", "quota_exceeded"})


def error_response(error: RequestError) -> Response:
    """Return the response that reports an error."""
    response = Response(error.status, orjson.dumps({"error": error_fields(error)}))
    response.slows_down = error.code in SLOWED_DOWN
    if error.status in RETRY_STATUS:
        response.headers.append(("Retry-After", str(error.retry_after_seconds)))
    return response


def error_fields(error: RequestError) -> dict[str, object]:
    """Return the ``error`` object of the JSON form."""
    return {"code": error.code, "message": error.message, "reasons": error.reasons}
