"""Clients on the collector's own machine: only they may see the visitors of a collector without keys."""

import ipaddress
from typing import Final

from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request

#: Headers by which a proxy says that the client is on another machine.
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def check_local(request: Request) -> None:
    """Refuse clients of other machines.

    The host's name has to be a local one, too: a page elsewhere may have had its own name resolved to this machine.

    Raises:
        RequestError: ``forbidden``.
    """
    host = request.headers.get("Host", "").rpartition(":")[0] or request.headers.get("Host", "")
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    if is_forwarded or host.lower() not in _LOCAL_NAMES or not is_loopback(request.peer):
        raise RequestError("forbidden", "without keys this is shown on the collector's own machine only, at localhost")


def is_loopback(host: str) -> bool:
    """Return whether an address or a name can only be reached from the same machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
