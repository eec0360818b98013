"""The results of the fold: rows and letters to send, and states to store. Values, no effects."""

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from topics.dead_letter import RawRecord, RejectReason
from topics.headers import Headers
from topics.records import Event
from topics.session import CloseReason
from tracker.sessions.state import UsageMark
from tracker.sessions.working_table import Row

#: One record of the source topic as the fold sees it: a tick has no key, and most records have no headers.
SourceInput = RawRecord


class TakenEvent(msgspec.Struct, gc=False):
    """An event that takes a number.

    ``event_id`` was given or is derived, ``details`` are ``topics.records.details_of`` the event, ``workspace_id`` is
    the workspace that it names, and ``identity`` goes into the session's memory if the event's id was given.
    """

    source: SourceInput
    record: Event
    event_id: str
    details: bytes
    workspace_id: str
    identity: bytes | None


class Output(NamedTuple):
    """One record to send: its partition is that of its source."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Forward(NamedTuple):
    """A source record on its way to the partition of its key, as it came but for the header that says so."""

    partition: int
    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class ChangedPage(NamedTuple):
    """A page of event ids, and the source offset that filled or removed it. None: the page is gone."""

    offset: int
    content: bytes | None


@dataclass(slots=True)
class Counts:
    """How many records had each outcome; for metrics only."""

    records: int = 0
    events: int = 0
    sessions: int = 0
    expires: int = 0
    flushes: int = 0
    ticks: int = 0
    duplicates: int = 0
    #: Passive events that no session took.
    passive: int = 0
    forwarded: int = 0
    forwarded_again: int = 0
    already_applied: int = 0
    #: Of the events, those that a closed session took.
    late: int = 0
    #: Of the events, those whose id their session had seen with another content.
    reused_event_ids: int = 0
    retried: int = 0
    opened: int = 0
    stubs_removed: int = 0
    #: Rows of the table that were not there before, and rows that are gone.
    rows_added: int = 0
    rows_removed: int = 0
    closed: dict[CloseReason, int] = field(default_factory=dict)
    rejected: dict[RejectReason, int] = field(default_factory=dict)

    @property
    def accounted(self) -> int:
        """Every record is one of these; the sum is ``records``."""
        applied = self.events + self.sessions + self.expires + self.flushes + self.ticks
        left_out = self.duplicates + self.passive + self.forwarded + self.forwarded_again + self.already_applied
        return applied + left_out + sum(self.rejected.values())


@dataclass(slots=True)
class FoldResult:
    """Everything that a run of records gave."""

    events: list[Output] = field(default_factory=list)
    sessions: list[Output] = field(default_factory=list)
    dead_letters: list[Output] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    #: Rows of the table by their keys, each at the source offset that changed it last.
    changed: dict[bytes, Row] = field(default_factory=dict)
    #: Pages of event ids by their keys.
    pages: dict[bytes, ChangedPage] = field(default_factory=dict)
    #: Usage that is put out.
    usage: list[Output] = field(default_factory=list)
    #: Usage that is not put out yet, and the source offset that changed it last; -1: nothing has.
    usage_mark: UsageMark = field(default_factory=UsageMark)
    usage_offset: int = -1
    counts: Counts = field(default_factory=Counts)
