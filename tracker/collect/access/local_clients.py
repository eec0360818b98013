"""Clients on the collector's own machine: only they may see the visitors of a collector without keys."""

from typing import Final

from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.observe.internal_token import is_local_name, is_loopback

#: Headers by which a proxy says that the client is on another machine.
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def check_local(request: Request) -> None:
    """Refuse clients of other machines.

    Raises:
        RequestError: ``forbidden``.
    """
    if not is_local(request):
        raise RequestError("forbidden", "without keys this is shown on the collector's own machine only, at localhost")


def is_local(request: Request) -> bool:
    """Return whether a request comes from this machine and names it: a page elsewhere may have its name lead here."""
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    return not is_forwarded and is_local_name(request.headers.get("Host", "")) and is_loopback(request.peer)
