"""The CORS headers of responses and preflights: which pages may read a response, and with which requests."""

from collections.abc import Sequence
from typing import Final

from tracker.collect.access.origins import OriginVerdict, is_same_origin

#: How long a browser may remember a preflight.
PREFLIGHT_MAX_AGE_SECONDS: Final = 7_200

_ALLOWED_METHODS: Final = "GET, POST, DELETE"
_ALLOWED_HEADERS: Final = "Authorization, Content-Encoding, Content-Type, Traceparent, X-Write-Key"
#: Scripts of other origins see few headers unless they are named here.
_EXPOSED_HEADERS: Final = ("Access-Control-Expose-Headers", "Retry-After")
_PLAIN_HEADERS: Final = (("Access-Control-Allow-Origin", "*"), _EXPOSED_HEADERS)


def response_headers(origin: str, host: str | None, verdict: OriginVerdict) -> Sequence[tuple[str, str]]:
    """Return the headers that let a page read the response. A refused page may read why, but gets no cookies."""
    if is_same_origin(origin, host):
        return ()
    if verdict == "credentials":
        return (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Vary", "Origin"),
            _EXPOSED_HEADERS,
        )
    return _PLAIN_HEADERS


def preflight_headers() -> list[tuple[str, str]]:
    """Return the headers of a preflight besides those about the origin."""
    return [
        ("Access-Control-Allow-Methods", _ALLOWED_METHODS),
        ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(PREFLIGHT_MAX_AGE_SECONDS)),
    ]
