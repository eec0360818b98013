"""The response to a question for a session: its state, as the plan defines it, and its place in the log. Pure."""

from typing import Any, Final, Literal

from topics.session import CONTEXT_FIELDS
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState

#: Context that most sessions lack: named only where there is some.
_RARE_CONTEXT: Final = frozenset({"ab_test_id", "ab_test_variant_id"})

Source = Literal["owner", "standby"]


def session_view(
    key: str, state: SessionState, *, rules: Rules, now_ms: int, source_offset: int, place: dict[str, Any]
) -> dict[str, Any]:
    """Return the checkpointed state. Times are milliseconds of stream time; ``remaining_ms`` is by the wall clock.

    ``is_expired`` is what the log says: at its deadline a session has ``remaining_ms`` 0, and the next record or tick
    closes it. It can't be said earlier: records from before the deadline may still wait in the log.
    """
    deadline_ms = state.deadline_ms(rules) if state.is_open else state.closed_ms
    context = {name: state.context.get(name, "") for name in CONTEXT_FIELDS}
    return {
        "session_id": state.session_id,
        "session_key": key,
        **{name: value for name, value in context.items() if value or name not in _RARE_CONTEXT},
        # The buffer of the plan is the topic of numbered events: the sink drains it, and here nothing waits.
        "event_buffer": [],
        "event_sequence": state.sequence,
        "last_activity": state.last_activity_ms,
        "session_timeout": state.timeout_ms,
        "created_at": state.created_ms,
        "is_expired": not state.is_open,
        "close_reason": state.close_reason,
        "deadline": deadline_ms,
        "remaining_ms": max(0, deadline_ms - now_ms) if state.is_open else 0,
        "source_offset": source_offset,
        **place,
    }
