"""Every answer of the API is made here: what was accepted, what went wrong, in one form."""

from collections.abc import Sequence
from typing import Final

import orjson

from tracker.collect.errors import RequestError
from tracker.collect.messages import Response
from tracker.collect.requests import Outgoing

#: After these the client is told when to come back.
_RETRY_STATUS: Final = frozenset({429, 503})


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Answer with JSON that is already serialised."""
    return Response(status, body)


def accepted(record: Outgoing) -> Response:
    """Answer 202: the record is safe."""
    return Response(202, orjson.dumps(_ids(record)))


def accepted_batch(records: Sequence[Outgoing]) -> Response:
    """Answer 202: all records are safe."""
    return Response(202, orjson.dumps({"accepted": [_ids(record) for record in records]}))


def _ids(record: Outgoing) -> dict[str, str]:
    ids = {"session_id": record.session_id}
    if record.event_id is not None:
        ids["event_id"] = record.event_id
    return ids


def failed(error: RequestError) -> Response:
    """Answer with an error's status and its JSON form."""
    body = {"error": {"code": error.code, "message": error.message, "reasons": error.reasons}}
    response = Response(error.status, orjson.dumps(body))
    if error.status in _RETRY_STATUS:
        response.headers.append(("Retry-After", str(error.retry_after_seconds)))
    return response
