"""Every answer of the API is made here: what was accepted, what went wrong, in one form."""

from collections.abc import Sequence
from typing import Final

import orjson
from aiohttp import web

from tracker.collect.errors import HTTP_STATUS, ErrorCode, RequestError
from tracker.collect.requests import Outgoing

#: Simple posts from other origins may read their answer; without credentials, so the cookie stays out of it.
CORS_HEADER: Final = ("Access-Control-Allow-Origin", "*")

_JSON: Final = "application/json"
_STATUS_CODES: Final[dict[int, tuple[ErrorCode, str]]] = {
    400: ("bad_request", "the request is malformed"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take this method"),
    413: ("oversized", "the body is too large"),
}
_RETRY_STATUS: Final = 503
#: After these, what is left of the body can't be told from a next request: say that the connection ends.
_CLOSING: Final[frozenset[ErrorCode]] = frozenset({"bad_request", "body_timeout", "oversized"})


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    """Answer with JSON that is already serialised."""
    return web.Response(body=body, status=status, content_type=_JSON)


def accepted(record: Outgoing) -> web.Response:
    """Answer 202: the broker has the record."""
    return json_bytes(orjson.dumps(_ids(record)), status=202)


def accepted_batch(records: Sequence[Outgoing]) -> web.Response:
    """Answer 202: the broker has all records."""
    return json_bytes(orjson.dumps({"accepted": [_ids(record) for record in records]}), status=202)


def _ids(record: Outgoing) -> dict[str, str]:
    ids = {"session_id": record.session_id}
    if record.event_id is not None:
        ids["event_id"] = record.event_id
    return ids


def failed(error: RequestError) -> web.Response:
    """Answer with an error's status and its JSON form."""
    body = {"error": {"code": error.code, "message": error.message, "reasons": error.reasons}}
    response = json_bytes(orjson.dumps(body), status=error.status)
    if error.code in _CLOSING:
        response.force_close()
    if error.status == _RETRY_STATUS:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def from_http_exception(exception: web.HTTPException) -> web.Response:
    """Put what aiohttp raises (404, 405, 413, ...) in the API's form."""
    code, message = _STATUS_CODES.get(exception.status, ("bad_request", exception.reason))
    response = failed(RequestError(code, message))
    if HTTP_STATUS[code] != exception.status:
        response.set_status(exception.status)
    if "Allow" in exception.headers:
        response.headers["Allow"] = exception.headers["Allow"]
    return response
