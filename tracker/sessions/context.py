"""What a session keeps of its records: context, given once and filled into its events, and who the visitor is."""

from typing import Final, cast

from topics.event import EventInput, EventRecord
from topics.session import CONTEXT_FIELDS, SESSION_ONLY_FIELDS, SessionInput, SessionRecord
from tracker.sessions.state import SessionState

_GIVEN_ONCE: Final = (*CONTEXT_FIELDS, *SESSION_ONLY_FIELDS)


def context_of(data: EventInput | SessionInput, workspace_id: str) -> dict[str, str]:
    """Return the context that a record of a workspace carries; an empty value is none."""
    context = {name: str(value) for name in _GIVEN_ONCE if (value := data.get(name))}
    if workspace_id:
        context["workspace_id"] = workspace_id
    return context


def visitor_of(record: EventRecord | SessionRecord) -> dict[str, str | bool]:
    """Return what a record tells of its visitor; an empty value is none."""
    return {name: value for name, value in cast("dict[str, str | bool]", record.get("visitor", {})).items() if value}


def learn_visitor(state: SessionState, record: EventRecord | SessionRecord) -> bool:
    """Keep the visitor of the first record that carries one; say whether this is it."""
    if state.visitor or "visitor" not in record:
        return False
    state.visitor = visitor_of(record)
    return bool(state.visitor)
