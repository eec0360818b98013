"""The key that a request presents, and other fields of its query. Nothing here is cached: keys are secret."""

from typing import Final
from urllib.parse import unquote_plus

from tracker.collect.http.messages import Request

_BEARER: Final = "bearer "


def query_field(query: str, name: str) -> str | None:
    """Return a field of a query string; of several with one name the first counts. None if it is missing."""
    prefix = name + "="
    for field in query.split("&"):
        if field.startswith(prefix):
            return unquote_plus(field[len(prefix) :])
    return None


def header_key(request: Request) -> str | None:
    """Return the key in ``X-Write-Key`` or ``Authorization: Bearer KEY``."""
    key = request.headers.get("X-Write-Key")
    if key is not None:
        return key
    authorization = request.headers.get("Authorization")
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip()


def presented_key(request: Request) -> str | None:
    """Return the key in a header or in ``?key=KEY``."""
    key = header_key(request)
    return query_field(request.query, "key") if key is None and request.query else key
