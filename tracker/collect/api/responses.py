"""Every answer of the API is made here: what was accepted, what went wrong, in one form."""

import base64
from typing import Final

import orjson

from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Response
from tracker.collect.records.build import Batch, Outgoing

#: A transparent GIF of one pixel.
PIXEL: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

_ACCEPTED: Final = 202
#: After these the client is told when to come back.
_RETRY_STATUS: Final = frozenset({429, 503})


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Answer with JSON that is already serialised."""
    return Response(status, body)


def accepted(record: Outgoing) -> Response:
    """Answer 202: the record is safe."""
    ids = {"session_id": record.session_id}
    if record.event_id is not None:
        ids["event_id"] = record.event_id
    return Response(202, orjson.dumps(ids))


def batch_verdicts(batch: Batch) -> Response:
    """Answer 202 with a verdict for each event, once those that were taken are safe; 400 if there is none."""
    if batch.records:
        return Response(202, orjson.dumps({"results": batch.results}))
    error = RequestError("invalid", "none of these events is valid")
    return Response(error.status, orjson.dumps({**_error(error), "results": batch.results}))


def dropped(signal: str, events: int | None) -> Response:
    """Answer 202: the visitor does not want this to be kept, and so it is not. ``events``: how many of a batch."""
    verdict = {"status": "dropped", "reasons": [f"the visitor has objected to tracking ({signal})"]}
    if events is None:
        return Response(202, orjson.dumps(verdict))
    return Response(202, orjson.dumps({"results": [{"index": index, **verdict} for index in range(events)]}))


def pixel(response: Response) -> Response:
    """Answer a GET that wants an image with one, whatever became of its event; the status tells."""
    status = 200 if response.status == _ACCEPTED else response.status
    return Response(status, PIXEL, "image/gif", [*response.headers, ("Cache-Control", "no-store")])


def failed(error: RequestError) -> Response:
    """Answer with an error's status and its JSON form."""
    response = Response(error.status, orjson.dumps(_error(error)))
    if error.status in _RETRY_STATUS:
        response.headers.append(("Retry-After", str(error.retry_after_seconds)))
    return response


def _error(error: RequestError) -> dict[str, object]:
    return {"error": {"code": error.code, "message": error.message, "reasons": error.reasons}}
