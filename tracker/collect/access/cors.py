"""Which pages may post here and read the response: the write key's origins, and pages of the collector itself."""

from collections.abc import Sequence
from typing import Final

from tracker.collect.access.keys import OriginVerdict

#: How long a browser may remember a preflight.
PREFLIGHT_MAX_AGE_SECONDS: Final = 7_200

_ALLOWED_METHODS: Final = "GET, POST, DELETE"
_ALLOWED_HEADERS: Final = "Authorization, Content-Encoding, Content-Type, Traceparent, X-Write-Key"
#: Scripts of other origins see few headers unless they are named here.
_EXPOSED_HEADERS: Final = ("Access-Control-Expose-Headers", "Retry-After")
_PLAIN_HEADERS: Final = (("Access-Control-Allow-Origin", "*"), _EXPOSED_HEADERS)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


def is_same_origin(origin: str, host: str | None) -> bool:
    """Return whether a page posts to where it came from: browsers name the origin then too."""
    return host is not None and origin.partition("://")[2] == host


def open_verdict(origin: str) -> OriginVerdict:
    """Say how origins may use a collector without keys: pages of this machine with cookies, others without."""
    host = origin.partition("://")[2]
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return "credentials" if name in _LOOPBACK else "plain"


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
