"""When an event happened, although the client's clock may be wrong. Pure: the present is given.

Without ``sent_at`` the client's own time is believed, but not further from the present than the limits. With it, only
differences between the client's times are trusted:

    time = received - age,    age = sent_at - timestamp, at least 0 and at most the limit

The time that the request spends on its way is not known. It makes the event that much later.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

_MILLISECOND: Final = timedelta(milliseconds=1)
#: The end of a time's text for each millisecond, and back. A look-up takes a third of the time of formatting.
_ENDINGS: Final = tuple(f".{ms:03d}Z" for ms in range(1_000))
_MS_OF_ENDING: Final = {ending: ms for ms, ending in enumerate(_ENDINGS)}
#: Where the end begins in ``2026-01-02T03:04:05.678Z``, as JavaScript and we write a time.
_SECOND_CHARS: Final = 19
_USUAL_SECOND: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
#: Seconds that are remembered, as texts and as numbers. Requests of one moment, and events of one batch, share a few.
SECONDS_CACHE_ENTRIES: Final = 1_024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The range of ``topics.fields.Timestamp``.
_OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END: Final = datetime(2100, 1, 1, tzinfo=UTC)
_OLDEST_MS: Final = (_OLDEST - _EPOCH) // _MILLISECOND
_END_MS: Final = (_END - _EPOCH) // _MILLISECOND


class TimeLimits(NamedTuple):
    """How far from the present an event's time may be."""

    max_age_seconds: int = 86_400
    max_ahead_seconds: int = 300

    def clamped(self, text: str, time_ms: int, now_ms: int) -> str:
        """Return the text of a client's time, or the end of the range that it lies beyond, to the second.

        The text of a time that a record can't have is returned as it is: the check of the record refuses it.
        """
        second = now_ms // 1_000
        oldest_ms, latest_ms = (second - self.max_age_seconds) * 1_000, (second + self.max_ahead_seconds) * 1_000 + 999
        if oldest_ms <= time_ms <= latest_ms or not is_storable(time_ms):
            return text
        return iso_time(oldest_ms if time_ms < oldest_ms else latest_ms)

    def corrected(self, time_ms: int, sent_at_ms: int, now_ms: int) -> str:
        """Return when an event happened by our own clock, in ISO 8601 with milliseconds and a ``Z``."""
        age_ms = sent_at_ms - time_ms
        if age_ms < 0:
            age_ms = 0
        elif age_ms > self.max_age_seconds * 1_000:
            age_ms = self.max_age_seconds * 1_000
        return iso_time(now_ms - age_ms)


def parse_time(text: object) -> int | None:
    """Return an ISO 8601 time as milliseconds since the epoch; without an offset it is UTC. None: it is not a time."""
    if not isinstance(text, str):
        return None
    time_ms = usual_time(text)
    return _parse(text) if time_ms is None else time_ms


def usual_time(text: str) -> int | None:
    """Return the same for a time as JavaScript writes it; None for any other text.

    About 0.2 us, if its second is one of those that were seen last; 1 us for others.
    """
    ms = _MS_OF_ENDING.get(text[_SECOND_CHARS:])
    if ms is None:
        return None
    second_ms = _second_ms(text[:_SECOND_CHARS])
    return None if second_ms is None else second_ms + ms


def is_storable(time_ms: int) -> bool:
    """Return whether a record can have this time."""
    return _OLDEST_MS <= time_ms < _END_MS


def iso_time(ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC; 0.2 us where ``isoformat`` takes 1.2."""
    return _second(ms // 1_000) + _ENDINGS[ms % 1_000]


@lru_cache(maxsize=SECONDS_CACHE_ENTRIES)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=SECONDS_CACHE_ENTRIES)
def _second_ms(second: str) -> int | None:
    return _parse(second + _ENDINGS[0]) if _USUAL_SECOND.fullmatch(second) else None


def _parse(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
