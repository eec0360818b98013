"""Compares what a browser sent with the rows that arrived. Pure: no browser, no database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

MISSING: Final = "-"
SCROLL: Final = "scroll"


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One event as it left the browser."""

    event_id: str
    event_type: str
    about: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A visitor's session: its actions, and the events, each once, in the order in which they were sent.

    ``actions`` are the types of the events that must come of these actions, besides those of scrolling.
    """

    session_id: str
    actions: tuple[str, ...]
    events: tuple[SentEvent, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One place in the session: the event that was sent and the row that is stored."""

    place: int
    sent: str
    about: str
    stored: str
    sequence: str
    verdict: str

    @property
    def is_ok(self) -> bool:
        """Whether both are the same event, numbered with this place."""
        return self.verdict == "ok"


def compare_events(sent: Sequence[SentEvent], rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Pair the sent events, in order, with the session's rows, by sequence: event by event."""
    ordered = sorted(rows, key=lambda row: row["session_event_sequence"])
    return [_compare(place, *pair) for place, pair in enumerate(zip_longest(sent, ordered), start=1)]


def _compare(place: int, sent: SentEvent | None, row: Mapping[str, Any] | None) -> Line:
    if row is None:
        verdict = "not stored"
    elif sent is None:
        verdict = "never sent"
    elif row["event_id"] != sent.event_id:
        verdict = "another event"
    elif row["event_type"] != sent.event_type:
        verdict = "another type"
    elif row["session_event_sequence"] != place:
        verdict = "numbered wrong"
    else:
        verdict = "ok"
    return Line(
        place=place,
        sent=sent.event_type if sent else MISSING,
        about=sent.about if sent else "",
        stored=row["event_type"] if row else MISSING,
        sequence=str(row["session_event_sequence"]) if row else MISSING,
        verdict=verdict,
    )


def find_faults(visit: Visit, lines: Iterable[Line], sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the differences, in words; none if the visit arrived as it happened."""
    faults = [f"event {line.place}: {line.verdict}" for line in lines if not line.is_ok]
    types = tuple(event.event_type for event in visit.events)
    if tuple(kind for kind in types if kind != SCROLL) != visit.actions or SCROLL not in types:
        faults.append(f"the visitor did {', '.join(visit.actions)} and scrolled; sent was {', '.join(types)}")
    if len(sessions) != 1:
        faults.append(f"session_v1 has {len(sessions)} rows for the session instead of one")
    elif sessions[0]["session_key"] != visit.session_id:
        faults.append("the session row belongs to another key")
    return faults
