"""The responses of the API: accepted, dropped, and images for the pixel."""

import base64
from collections.abc import Sequence
from typing import Final

import orjson

from tracker.collect.errors import RequestError
from tracker.collect.http.error_response import error_fields
from tracker.collect.http.messages import Response
from tracker.collect.records.source_records import EncodedRecord

#: A transparent GIF of one pixel.
PIXEL: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

_ACCEPTED: Final = 202


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Respond with JSON that is already serialised."""
    return Response(status, body)


def accepted(record: EncodedRecord) -> Response:
    """Respond 202 with the ids of a record that is safe."""
    ids = {"session_id": record.session_id}
    if record.event_id is not None:
        ids["event_id"] = record.event_id
    return Response(202, orjson.dumps(ids))


def verdicts(results: Sequence[EncodedRecord | RequestError]) -> Response:
    """Respond with a verdict for each event of a batch: 202, or 400 if none of them was accepted."""
    listed = [
        {"index": index, "status": "accepted", "session_id": result.session_id, "event_id": result.event_id}
        if isinstance(result, EncodedRecord)
        else {"index": index, "status": "rejected", "reasons": result.reasons}
        for index, result in enumerate(results)
    ]
    if any(isinstance(result, EncodedRecord) for result in results):
        return Response(202, orjson.dumps({"results": listed}))
    error = RequestError("invalid", "none of these events is valid")
    return Response(error.status, orjson.dumps({"error": error_fields(error), "results": listed}))


def dropped(signal: str, events: int | None) -> Response:
    """Respond 202 to a visitor who has objected to tracking. ``events``: how many the batch had; None: no batch."""
    verdict = {"status": "dropped", "reasons": [f"the visitor has objected to tracking ({signal})"]}
    if events is None:
        return Response(202, orjson.dumps(verdict))
    return Response(202, orjson.dumps({"results": [{"index": index, **verdict} for index in range(events)]}))


def as_pixel(response: Response) -> Response:
    """Turn any response into the image that a pixel's page expects; the status stays, except 202, which is 200."""
    status = 200 if response.status == _ACCEPTED else response.status
    # Pages under a cross-origin embedder policy take images of another origin only with the second.
    headers = [("Cache-Control", "no-store"), ("Cross-Origin-Resource-Policy", "cross-origin")]
    return Response(status, PIXEL, "image/gif", [*response.headers, *headers])
