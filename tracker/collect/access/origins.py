"""Which page has made a browser send a request, and how that page may use a key."""

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from tracker.collect.http.headers import single
from tracker.collect.http.messages import Request

#: How a page may use a key: with cookies, without, or not at all.
OriginVerdict = Literal["credentials", "plain", "refused"]

#: The origin of a page that does not tell it (RFC 6454, 7.3).
OPAQUE: Final = "null"
#: The host of a page of this machine, and its port.
_LOOPBACK: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")


def page_origin(request: Request) -> str | None:
    """Return the origin of the page behind a request; None if no page of another origin is behind it.

    Browsers send ``Origin`` with a POST. With a GET, such as for an image, they send ``Referer``, which a page can
    suppress, and ``Sec-Fetch-Site``, which it can't. A request from another site that names no page is from a page that
    hides: its origin is ``null``.

    Raises:
        RequestError: one of these headers comes more than once.
    """
    origin = single(request.headers, "Origin")
    if origin is not None:
        return origin
    referer = single(request.headers, "Referer")
    if referer is not None:
        return _origin_of(referer)
    return OPAQUE if single(request.headers, "Sec-Fetch-Site") == "cross-site" else None


def is_same_origin(origin: str, host: str | None) -> bool:
    """Return whether a page posts to the host that it comes from. Browsers name the origin then, too."""
    return bool(host) and origin.partition("://")[2] == host


def open_verdict(origin: str) -> OriginVerdict:
    """Say how a page may use a collector without keys: pages of this machine with cookies, others without."""
    return "credentials" if _LOOPBACK.fullmatch(origin.partition("://")[2]) else "plain"


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return OPAQUE
    return f"{parts.scheme}://{host}".lower() if parts.scheme and host else OPAQUE
