"""What a session keeps of its records: context, given once and filled into its events, and who the visitor is."""

from typing import Any, Final

import msgspec

from topics.records import EventFields, SessionFields, Told
from topics.session import CONTEXT_FIELDS, SESSION_ONLY_FIELDS
from tracker.sessions.state import SessionState

_GIVEN_ONCE: Final = (*CONTEXT_FIELDS, *SESSION_ONLY_FIELDS)


def context_of(data: EventFields | SessionFields, workspace_id: str) -> dict[str, str]:
    """Return the context that a record of a workspace carries; an empty value is none."""
    context = {name: str(value) for name in _GIVEN_ONCE if (value := getattr(data, name, None))}
    if workspace_id:
        context["workspace_id"] = workspace_id
    return context


def visitor_of(record: Told) -> dict[str, str | bool]:
    """Return what a record tells of its visitor; an empty value is none."""
    if record.visitor is msgspec.UNSET:
        return {}
    told: dict[str, Any] = msgspec.structs.asdict(record.visitor)
    return {name: value for name, value in told.items() if value}


def learn_visitor(state: SessionState, record: Told) -> bool:
    """Keep the visitor of the first record that carries one; say whether this is it."""
    if state.visitor or record.visitor is msgspec.UNSET:
        return False
    state.visitor = visitor_of(record)
    return bool(state.visitor)
