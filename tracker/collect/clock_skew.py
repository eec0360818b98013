"""When something happened, although the client's clock may be wrong: its clock is only trusted for differences.

    time = received - age,    age = sent_at - timestamp, at least 0 and at most MAX_EVENT_AGE

Client and network are assumed to take no time between ``sent_at`` and our receiving it; what they do take moves the
event later by that much.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

#: How long a client may keep an event before it gets it through. An older one counts as this old.
MAX_EVENT_AGE: Final = timedelta(days=30)
_NO_AGE: Final = timedelta(0)


def parse_time(text: object) -> datetime | None:
    """Read an ISO 8601 time, without an offset as UTC; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def corrected(timestamp: datetime, *, sent_at: datetime, received: datetime) -> str:
    """Return when it happened by our own clock, in ISO 8601 with milliseconds and a ``Z``."""
    age = min(max(sent_at - timestamp, _NO_AGE), MAX_EVENT_AGE)
    return (received - age).isoformat(timespec="milliseconds").replace("+00:00", "Z")
