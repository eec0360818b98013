"""The session cookie: read with suspicion, written with a sliding age."""

import re
from collections.abc import Mapping
from typing import Final

from topics.fields import MAX_ID_CHARS

#: What RFC 6265 lets stand in a cookie without quotes; ids that we mint are well inside it.
_COOKIE_SESSION_ID: Final = re.compile(rf"[!#-+\--:<-\[\]-~]{{1,{MAX_ID_CHARS}}}")


def session_from_cookie(cookies: Mapping[str, str], name: str) -> str | None:
    """Return the session id in the cookie; a value that can't be one counts as no cookie."""
    value = cookies.get(name)
    if value is None or _COOKIE_SESSION_ID.fullmatch(value) is None:
        return None
    return value


def session_cookie(name: str, session_id: str, *, max_age_seconds: int, secure: bool) -> str:
    """Return the ``Set-Cookie`` header that keeps a session id for as long as a session may be silent.

    Scripts can't read it (HttpOnly) and other sites can't make a browser post with it (SameSite=Lax).
    """
    attributes = f"Max-Age={max_age_seconds}; Path=/; HttpOnly; SameSite=Lax"
    return f"{name}={session_id}; {attributes}{'; Secure' if secure else ''}"
