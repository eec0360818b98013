"""Session ids that come from outside."""

from typing import Final
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter, ValidationError

from topics.fields import SessionId
from tracker.collect.bug_ids import is_bug
from tracker.collect.errors import RequestError

_session_id: Final[TypeAdapter[str]] = TypeAdapter(SessionId)


def session_id_from_path(raw: str) -> str:
    """Return the session id that a percent-encoded path segment names.

    Raises:
        RequestError: it is not UTF-8, not a session id, or a mistake of the sender such as ``undefined``.
    """
    try:
        session_id = _session_id.validate_python(unquote_to_bytes(raw).decode())
    except (UnicodeError, ValidationError):
        raise RequestError("bad_session_id", "a session id is 1 to 128 visible characters in UTF-8") from None
    if is_bug(session_id):
        raise RequestError("bad_session_id", "this is no id but a mistake of the sender, such as a missing value")
    return session_id
