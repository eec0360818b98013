"""The session cookie: read with suspicion, written with a sliding age."""

import re
from typing import Final
from urllib.parse import parse_qsl

from topics.fields import MAX_ID_CHARS

#: What RFC 6265 lets stand in a cookie without quotes; ids that we mint are well inside it.
_COOKIE_SESSION_ID: Final = re.compile(rf"[!#-+\--:<-\[\]-~]{{1,{MAX_ID_CHARS}}}")


def session_from_cookie(header: str | None, name: str) -> str | None:
    """Return the session id in the request's ``Cookie`` header; a value that can't be one counts as no cookie.

    Of several cookies of this name the first counts: browsers put the one of the closest path there.
    """
    if not header:
        return None
    for pair in header.split(";"):
        found, is_pair, value = pair.partition("=")
        if is_pair and found.strip() == name:
            value = value.strip().removeprefix('"').removesuffix('"')
            return value if _COOKIE_SESSION_ID.fullmatch(value) else None
    return None


def proposed_session(query: str) -> str | None:
    """Return the session id that a request proposes in its query as ``session``; it counts where there is no cookie.

    So tabs agree on a session before the first answer, and where cookies are blocked.
    """
    value = dict(parse_qsl(query)).get("session", "")
    return value if _COOKIE_SESSION_ID.fullmatch(value) else None


def session_cookie(name: str, session_id: str, *, max_age_seconds: int, secure: bool) -> str:
    """Return the ``Set-Cookie`` header that keeps a session id for as long as a session may be silent.

    Scripts can't read it (HttpOnly) and other sites can't make a browser post with it (SameSite=Lax).
    """
    attributes = f"Max-Age={max_age_seconds}; Path=/; HttpOnly; SameSite=Lax"
    return f"{name}={session_id}; {attributes}{'; Secure' if secure else ''}"
