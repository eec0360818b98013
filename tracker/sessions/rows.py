"""States and records into rows: what leaves the fold for ``events_v1``, ``session_v1`` and the dead letters."""

from datetime import UTC, datetime
from typing import Any, Final, cast

from topics import dead_letter as letters
from topics.codec import RejectedRecord, encode
from topics.event import EventData, EventRecord
from topics.session import CONTEXT_FIELDS, SESSION_ONLY_FIELDS, SessionRow
from topics.visitor import VISITOR_DEFAULTS
from tracker.sessions.ids import event_row_id
from tracker.sessions.outputs import SourceInput
from tracker.sessions.state import SessionState

#: EventData's required fields that a producer may leave out.
_EVENT_DEFAULTS: Final = dict.fromkeys(
    (
        "event_value",
        "event_value_type",
        "user_id",
        "campaign_id",
        "attribution_id",
        "workspace_id",
        "project_id",
        "landing_page_id",
        "environment",
        "campaign_environment",
        "page_url",
    ),
    "",
)
#: One record may open, close and count late: each row has a version of its own.
VERSIONS_PER_OFFSET: Final = 4
_NOTHING_KNOWN: Final = {**dict.fromkeys((*CONTEXT_FIELDS, *SESSION_ONLY_FIELDS), ""), **VISITOR_DEFAULTS}
_SESSION_ONLY: Final = frozenset(SESSION_ONLY_FIELDS)


def event_row(record: EventRecord, state: SessionState, event_id: str) -> bytes:
    """Return the numbered event as JSON; context that it lacks comes from the session. About 3 us."""
    timestamp = record["timestamp"]
    row: dict[str, Any] = {
        "timestamp": timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp,
        "id": event_row_id(state.workspace_id, state.session_id, state.created_ms, state.sequence, event_id),
        **_EVENT_DEFAULTS,
        **record["data"],
        "event_id": event_id,
        "session_id": state.session_id,
        "session_event_sequence": state.sequence,
    }
    if not row["workspace_id"] and (named := record.get("workspace_id")):
        row["workspace_id"] = named
    for name, value in state.context.items():
        if not row.get(name) and name not in _SESSION_ONLY:
            row[name] = value
    return encode(cast("EventData", row))  # by construction; a test validates what comes out


def session_row(key: str, state: SessionState, offset: int, *, is_late: bool = False) -> bytes:
    """Return the session as a row of ``session_v1``, versioned by the source offset that made it so.

    ``is_late``: it was closed before, and has taken a passive event since.
    """
    row: dict[str, Any] = {
        **_NOTHING_KNOWN,
        **state.context,
        **state.visitor,
        "session_id": state.session_id,
        "session_key": key,
        "created_at": _time(state.created_ms),
        "last_activity_at": _time(state.last_activity_ms),
        "closed_at": None if state.is_open else _time(state.closed_ms),
        "close_reason": state.close_reason,
        "is_expired": not state.is_open,
        "event_count": state.sequence,
        "session_timeout_seconds": state.timeout_ms // 1000,
        "version": VERSIONS_PER_OFFSET * offset + (not state.is_open) + is_late,
    }
    return encode(cast("SessionRow", row))  # likewise


def dead_letter(source: SourceInput, topic: str, partition: int, rejected: RejectedRecord) -> bytes:
    """Return the dead letter of a rejected source record. It failed when the log says it came: no clock is read."""
    return letters.dead_letter(
        source,
        stage="process",
        topic=topic,
        partition=partition,
        reason=rejected.reason,
        detail=rejected.detail,
        failed_at_ms=source.timestamp,
    ).encode()


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
