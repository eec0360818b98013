"""The data of ``/live``, gathered from output records in bounded memory. Pure: no clock, no Kafka.

Counts are by the second of the records' own time; a session's timeline is its last events by number.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Seconds of traffic that are kept and shown.
TRAFFIC_SECONDS: Final = 60
#: Sessions that are remembered; the one that was silent for longest goes first.
MAX_SESSIONS: Final = 5_000
#: Events of one session that are remembered.
MAX_TIMELINE_EVENTS: Final = 200
#: Sessions in the list of the latest.
LISTED_SESSIONS: Final = 12

_ABOUT: Final = ("clicked_element", "form_id", "event_value")

Row = Mapping[str, Any]


@dataclass(slots=True)
class LiveSession:
    """One session as the window has seen it."""

    session_id: str
    session_key: str = ""
    events: int = 0
    last_seen_ms: int = 0
    timeout_ms: int = 0
    close_reason: str = ""
    workspace_id: str = ""
    variant: str = ""
    timeline: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_TIMELINE_EVENTS))

    def is_open(self, now_ms: int) -> bool:
        """Whether it has not been closed and is not due to be."""
        return not self.close_reason and now_ms - self.last_seen_ms <= self.timeout_ms


class LiveWindow:
    """The last minute's traffic and the latest sessions."""

    def __init__(self, default_timeout_ms: int) -> None:
        self._default_timeout_ms = default_timeout_ms
        self._counts: dict[int, int] = {}
        #: By workspace and session id.
        self._sessions: OrderedDict[tuple[str, str], LiveSession] = OrderedDict()

    def count(self, at_ms: int, events: int = 1) -> None:
        """Count events at their second."""
        second = at_ms // 1000
        self._counts[second] = self._counts.get(second, 0) + events
        if len(self._counts) > 2 * TRAFFIC_SECONDS:
            newest = max(self._counts)
            self._counts = {at: n for at, n in self._counts.items() if at > newest - TRAFFIC_SECONDS}

    def add_event(self, row: Row, at_ms: int) -> None:
        """Add a numbered event; a repetition changes nothing."""
        session = self._session(row, at_ms)
        number = row["session_event_sequence"]
        if session.timeline and number <= session.timeline[-1]["n"]:
            return
        session.events = max(session.events, number)
        about = [str(row[name]) for name in _ABOUT if row.get(name)]
        if row.get("scroll_percentage") is not None:
            about.append(f"{row['scroll_percentage']:g} %")
        session.timeline.append(
            {
                "n": number,
                "type": row["event_type"],
                "about": " ".join(about),
                "page": row["page_url"],
                "event_id": row["event_id"],
                "at_ms": at_ms,
            }
        )

    def add_session(self, row: Row, at_ms: int) -> None:
        """Add a session row."""
        session = self._session(row, at_ms)
        session.session_key = row["session_key"]
        session.close_reason = row["close_reason"]
        session.timeout_ms = 1000 * row["session_timeout_seconds"]
        session.variant = row["ab_test_variant_id"]
        session.events = max(session.events, row["event_count"])

    def snapshot(self, now_ms: int, key: str) -> dict[str, Any]:
        """Return the page's data; ``key`` asks for the timeline of the latest session of this key or id."""
        this_second = now_ms // 1000
        # The present second is left out: it is not over, so its count would look like a drop.
        seconds = range(this_second - TRAFFIC_SECONDS, this_second)
        latest = list(reversed(self._sessions.values()))
        asked = next((session for session in latest if key and key in (session.session_id, session.session_key)), None)
        return {
            "now_ms": now_ms,
            "traffic": [self._counts.get(second, 0) for second in seconds],
            "open_sessions": sum(session.is_open(now_ms) for session in latest),
            "is_open_sessions_complete": len(latest) < MAX_SESSIONS,
            "sessions": [_summary(session, now_ms) for session in latest[:LISTED_SESSIONS]],
            "session": None if asked is None else {**_summary(asked, now_ms), "timeline": list(asked.timeline)},
        }

    def _session(self, row: Row, at_ms: int) -> LiveSession:
        name = row["workspace_id"], row["session_id"]
        session = self._sessions.get(name)
        if session is None:
            session = LiveSession(name[1], workspace_id=name[0], timeout_ms=self._default_timeout_ms)
            self._sessions[name] = session
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        session.last_seen_ms = max(session.last_seen_ms, at_ms)
        self._sessions.move_to_end(name)
        return session


def _summary(session: LiveSession, now_ms: int) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "events": session.events,
        "last_seen_ms": session.last_seen_ms,
        "state": session.close_reason or ("open" if session.is_open(now_ms) else "due"),
        "workspace_id": session.workspace_id,
        "variant": session.variant,
    }


@dataclass(slots=True)
class Progress:
    """How far a group is behind, and since when it has not moved."""

    committed: int = -1
    lag: int = 0
    moved_ms: int = 0

    def note(self, committed: int, lag: int, now_ms: int) -> None:
        """Note the group's offsets, summed over its partitions."""
        if committed != self.committed or lag == 0:
            self.moved_ms = now_ms
        self.committed, self.lag = committed, lag

    def health(self, now_ms: int, stalled_after_ms: int) -> str:
        """Return ``unknown`` before the first commit, ``stalled`` if there is lag and no progress, else ``ok``."""
        if self.committed < 0:
            return "unknown"
        return "stalled" if self.lag and now_ms - self.moved_ms >= stalled_after_ms else "ok"
