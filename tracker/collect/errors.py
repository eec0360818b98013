"""Why a request can't be served, and the one table from these reasons to HTTP statuses."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from tracker.errors import RejectedError

ErrorCode = Literal[
    "not_json",  # the body is no JSON document, or not UTF-8
    "invalid",  # JSON, but not what the endpoint takes: wrong type, unknown field, limit exceeded
    "bad_request",  # the HTTP request itself is broken, such as a body that is not gzip although its header says so
    "bad_session_id",  # the id in the path is not a session id
    "unauthorized",  # no key, or an unknown one
    "forbidden",  # a key that may not do this, or not from this origin
    "unknown_session",  # no session has this id
    "not_found",  # no such address
    "method_not_allowed",  # the address has other methods
    "body_timeout",  # the body did not arrive in time
    "oversized",  # the body, or the record made from it, is larger than allowed
    "headers_too_large",  # the head of the request, or a line of it
    "http_version",  # the request line names another version than HTTP/1.0 or HTTP/1.1
    "rate_limited",  # more than the key or the address may send
    "quota_exceeded",  # the workspace has sent its events of today
    "unsupported_media_type",  # neither JSON nor the text/plain that sendBeacon sends
    "internal",  # a bug of ours
    "kafka_unavailable",  # the broker can't acknowledge now
    "spill_full",  # Kafka is away, and the disk space for waiting events is used up
    "overloaded",  # more requests or connections than this collector handles at once
    "processor_unavailable",  # the session's owner can't answer now
    "tinybird_unavailable",  # the reports can't be read from Tinybird now
    "not_ready",  # events can't be accepted now; operators are told why
    "unhealthy",  # a background task of the collector fails again and again
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
    "quota_exceeded": 429,
    "headers_too_large": 431,
    "internal": 500,
    "http_version": 505,
    "kafka_unavailable": 503,
    "spill_full": 503,
    "overloaded": 503,
    "processor_unavailable": 503,
    "tinybird_unavailable": 503,
    "not_ready": 503,
    "unhealthy": 503,
}

#: What ``Retry-After`` says where the wait is not known.
RETRY_AFTER_SECONDS: Final = 2


class RequestError(RejectedError):
    """A request can't be served: ``code`` says why to programs, ``message`` and ``reasons`` to people.

    None of them may repeat values of the request, which may be secret.
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
