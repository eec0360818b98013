"""What a session keeps of its records: context, given once and filled into its events, the visitor, and touches."""

from operator import attrgetter
from typing import Any, Final

import msgspec

from topics.records import Event, EventFields, Session, SessionFields, Told
from topics.session import CAMPAIGN_FIELDS, CONTEXT_FIELDS, SESSION_ONLY_FIELDS, CloseReason
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState, Touch

_GIVEN_ONCE: Final = (*CONTEXT_FIELDS, *SESSION_ONLY_FIELDS)
_read_campaign: Final = attrgetter(*CAMPAIGN_FIELDS)
#: Touches that a session keeps: the first one, and the latest of the others. Each is at most about 3 KiB.
MAX_TOUCHES: Final = 10


def _context_of(data: EventFields | SessionFields, workspace_id: str) -> dict[str, str]:
    """Return the context that a record of a workspace carries; empty values are left out."""
    context = {name: str(value) for name in _GIVEN_ONCE if (value := getattr(data, name, None))}
    if workspace_id:
        context["workspace_id"] = workspace_id
    return context


def first_context(record: Event | Session, workspace_id: str, rules: Rules) -> dict[str, str]:
    """Return the first context of a session that a record of a workspace opens: its fields, and the visitor's id."""
    context = _context_of(record.data, workspace_id)
    if record.visitor_id and not rules.keeps_to_layout_2:
        context["visitor_id"] = record.visitor_id
    return context


def visitor_of(record: Told) -> dict[str, str | bool]:
    """Return the details of its visitor that a record carries; empty values are left out."""
    if record.visitor is msgspec.UNSET:
        return {}
    told: dict[str, Any] = msgspec.structs.asdict(record.visitor)
    return {name: value for name, value in told.items() if value}


def learn_visitor(state: SessionState, record: Told, now_ms: int, rules: Rules) -> bool:
    """Keep the visitor of the first record that carries one, the first id, each new campaign; say if that was news."""
    is_told = False
    if record.visitor_id and "visitor_id" not in state.context and not rules.keeps_to_layout_2:
        state.context = {**state.context, "visitor_id": record.visitor_id}
        is_told = True
    if record.visitor is msgspec.UNSET:
        return is_told
    campaign = _campaign_of(record)
    if campaign and not rules.keeps_to_layout_2 and campaign != _latest(state):
        is_told = True
        later = state.touches[1:][-(MAX_TOUCHES - 2) :]
        state.touches = [*state.touches[:1], *later, Touch(at_ms=now_ms, campaign=campaign)]
    if state.visitor:
        return is_told
    state.visitor = visitor_of(record)
    return is_told or bool(state.visitor)


def enrich(state: SessionState, workspace_id: str, record: Session, now_ms: int, rules: Rules) -> bool:
    """Add what a session record says to an open session; return whether that changed anything."""
    before = (state.context, state.timeout_ms)
    state.context = {**state.context, **_context_of(record.data, workspace_id)}
    state.timeout_ms = record.data.timeout_seconds * 1000 or state.timeout_ms
    is_told = learn_visitor(state, record, now_ms, rules)
    return is_told or (state.context, state.timeout_ms) != before


def first_touches(visitor: dict[str, str | bool], now_ms: int, rules: Rules) -> list[Touch]:
    """Return the touches of a session that begins with a visitor."""
    campaign: dict[str, str] = {name: str(visitor[name]) for name in CAMPAIGN_FIELDS if name in visitor}
    return [Touch(at_ms=now_ms, campaign=campaign)] if campaign and not rules.keeps_to_layout_2 else []


def ended_by(state: SessionState, workspace_id: str, record: Event | Session, rules: Rules) -> CloseReason | None:
    """Return why a record ends the open session that it finds and begins the next one; None: it belongs to it.

    A session whose visitor is not known yet takes any campaign.
    """
    if state.is_claimed_by(workspace_id, rules):
        return "claimed"
    if rules.campaign_change == "keep" or rules.keeps_to_layout_2 or not state.visitor:
        return None
    if record.passive if isinstance(record, Event) else record.open_only:
        return None
    campaign = _campaign_of(record)
    return "campaign" if campaign and campaign != _latest(state) else None


def _latest(state: SessionState) -> dict[str, str] | None:
    return state.touches[-1].campaign if state.touches else None


def _campaign_of(record: Told) -> dict[str, str]:
    """Return what a record tells of the campaign that brought its visitor. About 0.3 us where it tells nothing."""
    if record.visitor is msgspec.UNSET or not any(told := _read_campaign(record.visitor)):
        return {}
    campaign: dict[str, str] = dict(zip(CAMPAIGN_FIELDS, told, strict=True))
    return {name: value for name, value in campaign.items() if value}
