"""Items that wait to be sent, and reports of those that were given up.

An item's body is bytes from the first moment on, so a repeat has the same content.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from uuid import UUID

#: What an item does: tells of an event, opens a session or adds to it, ends it, has it shipped.
Kind = Literal["event", "session", "expire", "flush"]

#: Why an item was not delivered.
Code = Literal[
    "rejected",  # its content can't be taken; the reasons say why
    "oversized",  # it is larger than any record may be
    "queue_full",  # the queue's limit in items or bytes was reached
    "expired",  # it was tried for as long as the retry budget lasts
    "closed",  # the client was closed before it was delivered
]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An item that was given up. ``body`` is its JSON, so that you can keep it and send it again."""

    code: Code
    reasons: tuple[str, ...]
    kind: Kind
    session_id: str
    event_id: str | None
    #: A try had no answer, so it may count nevertheless. Sent again with the same ``event_id``, it counts once.
    may_have_arrived: bool
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to send. Its body is never changed, so that a repeat has the same content."""

    kind: Kind
    session_id: str
    event_id: str | None
    body: bytes
    #: By the client's clock that never goes back.
    queued_at_ms: int
    #: What the request says of the visitor; sessions only.
    headers: Mapping[str, str] = field(default_factory=dict)

    def undelivered(self, code: Code, *reasons: str, may_have_arrived: bool = False) -> Undelivered:
        """Return the report that it was given up."""
        return Undelivered(code, reasons, self.kind, self.session_id, self.event_id, may_have_arrived, self.body)


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return fields as compact JSON in UTF-8. Times and UUIDs become text; half of a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: a value is not finite, or nested too deeply.
        TypeError: JSON has no form for a value.
    """
    try:
        text = _encoder.encode(fields)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return well_formed(text).encode()


def well_formed(text: str) -> str:
    """Return a text that has a form in UTF-8: half of a surrogate pair becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def canonical(value: object) -> str:
    """Return an object as JSON text that is the same whatever the order of its keys."""
    return _sorting_encoder.encode(value)


def iso_time(time: datetime | None = None) -> str:
    """Return a time (default: now) as ISO 8601 with milliseconds in UTC; one without a zone is taken as UTC."""
    if time is None:
        time = datetime.now(UTC)
    elif time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return iso_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"JSON has no form for a {type(value).__name__}")


_FORM: Final[dict[str, Any]] = {
    "ensure_ascii": False,
    "allow_nan": False,
    "separators": (",", ":"),
    "default": _as_text,
}
_encoder: Final = json.JSONEncoder(**_FORM)
_sorting_encoder: Final = json.JSONEncoder(**_FORM, sort_keys=True)
