"""The key that a request presents, and other fields of its query. Nothing here is cached: keys are secret."""

from typing import Final
from urllib.parse import unquote_plus

from tracker.collect.http.headers import single
from tracker.collect.http.messages import Request

_BEARER: Final = "bearer "


def query_field(query: str, name: str) -> str | None:
    """Return a field of a query string; of several with one name the first counts. None if it is missing."""
    if name not in query:
        return None
    prefix = name + "="
    begin = 0 if query.startswith(prefix) else query.find("&" + prefix) + 1
    if not begin and not query.startswith(prefix):
        return None
    value = query[begin + len(prefix) :].partition("&")[0]
    return unquote_plus(value) if "%" in value or "+" in value else value


def header_key(request: Request) -> str | None:
    """Return the key in ``X-Write-Key`` or ``Authorization: Bearer KEY``.

    Raises:
        RequestError: one of these headers comes more than once.
    """
    key = single(request.headers, "X-Write-Key")
    if key is not None:
        return key
    authorization = single(request.headers, "Authorization")
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip()


def presented_key(request: Request) -> str | None:
    """Return the key in a header or in ``?key=KEY``.

    Raises:
        RequestError: a header with a key comes more than once.
    """
    key = header_key(request)
    return query_field(request.query, "key") if key is None and request.query else key
