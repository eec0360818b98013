"""When an event happened, although the client's clock may be wrong: only differences between its times are trusted.

    time = received - age,    age = sent_at - timestamp, at least 0 and at most MAX_EVENT_AGE

The time that the request spends on its way is not known. It makes the event that much later.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

#: How long a client may keep an event before it sends it. An older one counts as this old.
MAX_EVENT_AGE: Final = timedelta(days=30)
_NO_AGE: Final = timedelta(0)
_MILLISECOND: Final = timedelta(milliseconds=1)
#: The end of a time's text for each millisecond. A look-up takes a third of the time of formatting.
_ENDINGS: Final = tuple(f".{ms:03d}Z" for ms in range(1_000))
#: Seconds whose text is remembered. Requests of one moment, and events of one batch, share a few.
SECONDS_CACHE_ENTRIES: Final = 1_024


def parse_time(text: object) -> datetime | None:
    """Parse an ISO 8601 time; without an offset it is UTC. None if it is not a time."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def corrected(timestamp: datetime, *, sent_at: datetime, received_ms: int) -> str:
    """Return when an event happened by our own clock, in ISO 8601 with milliseconds and a ``Z``."""
    age = sent_at - timestamp
    if age < _NO_AGE:
        age = _NO_AGE
    elif age > MAX_EVENT_AGE:
        age = MAX_EVENT_AGE
    return iso_time(received_ms - age // _MILLISECOND)


def iso_time(ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC; 0.2 us where ``isoformat`` takes 1.2."""
    return _second(ms // 1_000) + _ENDINGS[ms % 1_000]


@lru_cache(maxsize=SECONDS_CACHE_ENTRIES)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
