"""The cookies of session and visitor, and the session that a request proposes in its query."""

import re
from typing import Final, Literal, NamedTuple

from topics.fields import MAX_ID_CHARS

SameSite = Literal["lax", "strict", "none"]

#: The characters that RFC 6265 allows in a cookie without quotes; the ids that we generate need only some of them.
_COOKIE_ID: Final = re.compile(rf"[!#-+\--:<-\[\]-~]{{1,{MAX_ID_CHARS}}}")
#: UUIDv7, as the collector and tracker.js mint them.
_MINTED_ID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_minted(cookie_id: str) -> bool:
    """Return whether an id has the form of those that the collector and tracker.js mint."""
    return _MINTED_ID.fullmatch(cookie_id) is not None


def cookie_value(header: str | None, name: str) -> str | None:
    """Return the value of a cookie in the request's ``Cookie`` header; None if it can't be an id.

    Of several cookies of this name the first counts: browsers put the one of the closest path there.
    """
    if not header:
        return None
    for pair in header.split(";"):
        found, is_pair, value = pair.partition("=")
        if is_pair and found.strip() == name:
            value = value.strip().removeprefix('"').removesuffix('"')
            return value if _COOKIE_ID.fullmatch(value) else None
    return None


def proposed_session(value: str | None) -> str | None:
    """Return the session id that a request proposes in its query as ``session``; it counts where there is no cookie.

    So tabs agree on a session before the first response, and where cookies are blocked.
    """
    return value if value and _COOKIE_ID.fullmatch(value) else None


class IdCookie(NamedTuple):
    """How a cookie with an id is written. Scripts can't read it (HttpOnly)."""

    name: str
    is_secure: bool = True
    same_site: SameSite = "lax"
    #: Empty: for the collector's own host only.
    domain: str = ""

    def header(self, cookie_id: str, max_age_seconds: int) -> str | None:
        """Return the ``Set-Cookie`` value that keeps an id for so long.

        None if the id has characters that a cookie can't have. The client has chosen it and will name it again.
        """
        if not _COOKIE_ID.fullmatch(cookie_id):
            return None
        return self._written(cookie_id, max_age_seconds)

    def removal(self) -> str:
        """Return the ``Set-Cookie`` value that makes a browser forget the cookie."""
        return self._written("", 0)

    def _written(self, value: str, max_age_seconds: int) -> str:
        domain = f"; Domain={self.domain}" if self.domain else ""
        secure = "; Secure" if self.is_secure else ""
        attributes = f"Max-Age={max_age_seconds}; Path=/{domain}; HttpOnly; SameSite={self.same_site.capitalize()}"
        return f"{self.name}={value}; {attributes}{secure}"
