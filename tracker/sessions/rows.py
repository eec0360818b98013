"""Turns states and records into the fold's output: rows of ``events_v1`` and ``session_v1``, and dead letters."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson
from msgspec import UNSET

from topics import dead_letter as letters
from topics.codec import RejectedRecord, encode
from topics.records import Event, details_of
from topics.session import CONTEXT_FIELDS, SESSION_ONLY_FIELDS, SessionRow
from topics.visitor import VISITOR_DEFAULTS
from tracker.sessions.keys import event_row_id, event_row_prefix
from tracker.sessions.outputs import SourceInput, TakenEvent
from tracker.sessions.state import SessionState

#: What a row has of its session where the event does not say: these only if they are known ...
_IF_KNOWN: Final = ("ab_test_id", "ab_test_variant_id")
#: ... and these always; an event alone may know the last three.
_ALWAYS: Final = (
    *(name for name in CONTEXT_FIELDS if name not in {*_IF_KNOWN, "workspace_id"}),
    "event_value",
    "event_value_type",
    "page_url",
)
_FILLED: Final = (*_IF_KNOWN, *_ALWAYS)
#: A field that is there and says nothing.
_EMPTY: Final = frozenset({"", None})
#: Sessions of a partition whose part of a row is kept, 1 to 2 KB each; all are rendered anew once there are more.
MAX_RENDERED_SESSIONS: Final = 2_000
#: One record may open a session, close it, and count a late event: each of the rows needs another version.
VERSIONS_PER_OFFSET: Final = 4

_NOTHING_KNOWN: Final = {**dict.fromkeys(("visitor_id", *CONTEXT_FIELDS, *SESSION_ONLY_FIELDS), ""), **VISITOR_DEFAULTS}

#: The workspace that an event names, and which of ``_FILLED`` it lacks.
_Lacking = tuple[str, tuple[bool, ...]]


@dataclass(slots=True)
class _Rendered:
    """A session's part of its rows, for the context it has: contexts are replaced, never changed."""

    context: dict[str, str]
    id_prefix: str
    #: What the session's last event lacked, and what was filled in: the next one mostly lacks the same.
    lacking: _Lacking | None = None
    filling: bytes = b""
    fillings: dict[_Lacking, bytes] = field(default_factory=dict)


class EventRows:
    """Renders numbered events. A session's part of them is rendered once for all events that say the same fields."""

    __slots__ = ("_rendered",)

    def __init__(self) -> None:
        self._rendered: dict[bytes, _Rendered] = {}

    def row(self, key: bytes, state: SessionState, event: TakenEvent) -> bytes:
        """Return the numbered event as JSON; context that it lacks comes from the session. About 1.5 us.

        ``key`` is the key of its session's row.
        """
        details = event.details
        data: Any = event.record.data  # its struct has the fields of the TypedDict
        lacking = event.workspace_id, _lacks(data)
        if data.ab_test_id in _EMPTY or data.ab_test_variant_id in _EMPTY:
            details = _without_empty(event.record)
        rendered = self._rendered.get(key)
        if rendered is None or rendered.context is not state.context:
            rendered = self._begin(key, state)
        if rendered.lacking != lacking:
            rendered.lacking, rendered.filling = lacking, _filled(rendered.fillings, state, lacking)
        event_id, sequence = event.event_id, state.sequence
        # A text that is encoded once: to format the row as bytes takes half as long again.
        head = (
            f'{{"timestamp":"{event.record.timestamp}","id":"{event_row_id(rendered.id_prefix, sequence, event_id)}",'
            f'"event_id":{orjson.dumps(event_id).decode()},"session_event_sequence":{sequence},'
        )
        return head.encode() + rendered.filling + details[1:]

    def _begin(self, key: bytes, state: SessionState) -> _Rendered:
        if len(self._rendered) >= MAX_RENDERED_SESSIONS:
            self._rendered.clear()
        prefix = event_row_prefix(state.workspace_id, state.session_id, state.created_ms)
        rendered = self._rendered[key] = _Rendered(state.context, prefix)
        return rendered


def _lacks(data: Any) -> tuple[bool, ...]:
    """Return which of ``_FILLED`` an event lacks. 0.2 us, because the names are written out: 0.8 by ``attrgetter``."""
    return (
        not data.ab_test_id,
        not data.ab_test_variant_id,
        not data.user_id,
        not data.campaign_id,
        not data.project_id,
        not data.attribution_id,
        not data.landing_page_id,
        not data.environment,
        not data.campaign_environment,
        not data.event_value,
        not data.event_value_type,
        not data.page_url,
    )


def _filled(fillings: dict[_Lacking, bytes], state: SessionState, lacking: _Lacking) -> bytes:
    """Return what a session fills in for this, rendered when it is asked for first."""
    filling = fillings.get(lacking)
    if filling is None:
        filling = fillings[lacking] = _filling(state, lacking)
    return filling


def _filling(state: SessionState, lacking: _Lacking) -> bytes:
    workspace_id, is_lacking = lacking
    filling = {"session_id": state.session_id, "workspace_id": workspace_id or state.workspace_id}
    for name, is_absent in zip(_FILLED, is_lacking, strict=True):
        known = state.context.get(name, "")
        if is_absent and (known or name in _ALWAYS):
            filling[name] = known
    return orjson.dumps(filling)[1:-1] + b","


def _without_empty(event: Event) -> bytes:
    """Return the details of an event without the empty fields in whose place the session's come."""
    for name in _IF_KNOWN:
        if not getattr(event.data, name):
            setattr(event.data, name, UNSET)
    return details_of(event)


def session_row(key: str, state: SessionState, offset: int, *, is_late: bool) -> bytes:
    """Return the session as a row of ``session_v1``, versioned by the source offset that made it so.

    ``is_late``: it was closed before, and has taken a passive event since.
    """
    row: dict[str, Any] = {
        **_NOTHING_KNOWN,
        **state.context,
        **state.visitor,
        "touches": _touches(state),
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
    return encode(cast("SessionRow", row))  # its keys are the row's


def _touches(state: SessionState) -> str:
    touches = [{"at": _time(touch.at_ms), **touch.campaign} for touch in state.touches]
    return orjson.dumps(touches, option=orjson.OPT_UTC_Z).decode()


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
