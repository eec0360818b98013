"""What can go wrong with a request, and the one table from that to an HTTP status."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from topics.codec import RejectedRecord
from tracker.errors import RejectedError

ErrorCode = Literal[
    "not_json",  # the body is no JSON document, or not UTF-8
    "invalid",  # JSON, but not what the endpoint takes: wrong type, unknown field, limit exceeded
    "bad_request",  # the HTTP request itself is broken, such as a body that is not the gzip it says it is
    "bad_session_id",  # the id in the path is no session id
    "unauthorized",  # no key, or one that nobody knows
    "forbidden",  # a key that may not do this, or not from this origin
    "unknown_session",  # no session has this id
    "not_found",  # no such address
    "method_not_allowed",  # the address knows other methods
    "body_timeout",  # the body did not arrive in time
    "oversized",  # the body, or the record made from it, is larger than allowed
    "headers_too_large",  # the head of the request, or a line of it
    "rate_limited",  # more than the key or the address may send
    "unsupported_media_type",  # neither JSON nor the text/plain that sendBeacon sends
    "internal",  # a bug of ours
    "kafka_unavailable",  # the broker can't acknowledge now
    "spill_full",  # Kafka is away, and the disk space for what waits for it is used up
    "overloaded",  # more is under way than this collector holds
    "processor_unavailable",  # the session's owner can't answer now
]

HTTP_STATUS: Final[Mapping[ErrorCode, int]] = {
    "not_json": 400,
    "invalid": 400,
    "bad_request": 400,
    "bad_session_id": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "unknown_session": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "oversized": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "headers_too_large": 431,
    "internal": 500,
    "kafka_unavailable": 503,
    "spill_full": 503,
    "overloaded": 503,
    "processor_unavailable": 503,
}

#: What a client is told to wait before it tries again, unless somebody knows better.
RETRY_AFTER_SECONDS: Final = 2


class RequestError(RejectedError):
    """A request can't be served; ``code`` says why to programs, ``message`` and ``reasons`` to people.

    Neither may repeat values of the request: they may be secret.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        reasons: Sequence[str] = (),
        retry_after_seconds: int = RETRY_AFTER_SECONDS,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.reasons = tuple(reasons)
        self.retry_after_seconds = retry_after_seconds

    @property
    def status(self) -> int:
        """The HTTP status that this error is answered with."""
        return HTTP_STATUS[self.code]


def from_rejection(rejected: RejectedRecord, *, type_: str) -> RequestError:
    """Put the codec's verdict on a record in terms of the request's flat fields."""
    if rejected.reason == "oversized":
        return RequestError("oversized", f"this {type_} is too large", reasons=[rejected.detail])
    # The codec places fields in the record ("event.data.form_id"); the client knows them without that.
    places = (f"{type_}.data.", f"{type_}.")
    reasons = []
    for line in rejected.detail.split("; "):
        place = next((place for place in places if line.startswith(place)), "")
        reasons.append(line.removeprefix(place))
    return RequestError("invalid", f"this is not a valid {type_}", reasons=reasons)
