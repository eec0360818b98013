"""Every transition of a session, in one file: the fold over one partition's log.

``now`` is stream time, the running maximum of the records' own timestamps; no clock is read and no random number
drawn, so every fold of the same log gives the same states, numbers, ids and rows, byte for byte.

**Which session.** A session belongs to a workspace. A record names its workspace in the envelope or in its data. Under
its key lies the session of the key's *home*: the first workspace that a record of this key has named. A record that
names no workspace belongs to home. A record that names another one has a separate row under key and workspace; if that
row is there, the fold uses it before it opens or names a home. A home without a workspace is claimed by the first event
or session record that names one: its session ends, and that of the workspace begins.

    record            session before       after, and what goes out
    any               open, now > deadline closed (timeout or max_length): session row. Before the record itself.
    any               stub, now > deadline forgets its event ids; at its second deadline it is forgotten: as if the key
                                           had never been used. But stale writes can't win.
    any               forgotten, and past  gone: the row is removed
                        its deadline
    not one of ours   any                  as it was: dead letter (so is one that can't be decoded, is skipped, or
                                           does not fit the schema that it names)
    its producer's    any                  as it was, and no time passes: dead letter (in the log of an import, every
      time                                 record has the time of its file)
    tick              any                  only time has passed
    of another        none                 none: the record goes to the partition of its key; if it has been
      partition's key                        forwarded once already, to the dead letters
    a copy that was   any                  as it was: nothing
      taken before
    event             any, remembered      as it was: nothing (a duplicate takes no number)
    event             open, of no          closed (claimed): session row. Then as for none.
      or session        workspace
    event             open, of another     with ``Rules.campaign_change`` = split: closed (campaign): session row. Then
      or session        campaign           as for a stub.
    event             none, or stub        open, sequence 1: session row, event row
    event             open                 sequence + 1, touched: event row; a session row first, if the visitor is new
    passive event     open                 sequence + 1: event row
    passive event     stub within grace    sequence + 1, still closed: event row, session row
    passive event     none, or other stub  as it was: nothing
    session           none, or stub        open, sequence 0: session row
    session           open                 touched; if context, time-out or visitor changed: session row
    session that may  open                 touched
      only open
    event, session    open, now at a cap   closed (cap): session row. After the record itself; the next event renews.
    expire            open                 closed (expired): session row, then the markers of a flush
    expire            none, or stub        as it was
    flush             any                  as it was: a marker in band for the sink, in both output topics

A deadline is inclusive: an event exactly at it still belongs. A session that follows a stub inherits its context
(``Rules.renewal_context``) and remembers its events. A state that already carries this record's offset (or a later one)
has had it, from a run that was killed between two changelog batches, and is left alone. A key that is known here is at
home here; only an unknown one is hashed.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from topics.codec import RejectedRecord
from topics.dead_letter import LOG_APPEND_TIME
from topics.headers import LogPlace, read_unreadable
from topics.records import EVENT, Event, Expire, Keyed, OwnEvent, Session, decode_record, details_of, workspace_of
from topics.schemas import NO_SCHEMAS, Schemas
from topics.session import CloseReason
from tracker.sessions.context import ended_by, enrich, first_context, first_touches, learn_visitor, visitor_of
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.forwards import ForwardMarks, ForwardSeal
from tracker.sessions.keys import looks_used, missing_event_id, renewed_session_id, session_key
from tracker.sessions.memory import EventMemory, ReadPages, identity_of, remember_as_layout_2
from tracker.sessions.outbox import Outbox
from tracker.sessions.outputs import FoldResult, SourceInput, TakenEvent
from tracker.sessions.rules import Rules
from tracker.sessions.state import FORGOTTEN, SessionState, Watermark, forgotten
from tracker.sessions.usage import Usage
from tracker.sessions.working_table import At, Lookup, Row, WorkingTable

#: Says which partition a key belongs to.
PartitionOf = Callable[[bytes], int]
#: Deadlines that have passed: deadline, key and row, the earliest first.
_Due = list[tuple[int, bytes, Row]]


class PartitionFold:
    """Folds the records of one partition, in log order. Holds stream time and the deadlines; states come by lookup.

    ``mark`` was written down with W; the fold goes on from it.
    """

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        partition_of: PartitionOf,
        rules: Rules,
        lookup: Lookup,
        read_pages: ReadPages,
        deadlines: Deadlines,
        mark: Watermark,
        seal: ForwardSeal = ForwardSeal(),  # noqa: B008 - it is immutable
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        self._partition, self._partition_of, self._rules = partition, partition_of, rules
        self._needs_log_time = not rules.keys_are_used  # the log of an import has the times of its files
        self._schemas, self._seal = schemas, seal
        self._is_layout_2 = rules.keeps_to_layout_2  # as workers of 0.1.0, which make no seals
        self._at = at = At(now_ms=mark.stream_time_ms)
        self._table = WorkingTable(at, lookup, has_homes_only=self._is_layout_2)
        self.usage = Usage(at, topic, partition, rules)
        self._outbox = Outbox(at, topic, partition, seal, self.usage, rules=rules)
        self._memory = EventMemory(at, read_pages, window_ms=rules.duplicate_window_ms, page_events=rules.page_events)
        self._result, self._forwards = FoldResult(), ForwardMarks(mark.forwarded)
        self.deadlines, self.stream_time_ms = deadlines, mark.stream_time_ms

    @property
    def mark(self) -> Watermark:
        """The mark that has to be written down with W."""
        forwarded = self._forwards.snapshot()
        return Watermark(stream_time_ms=self.stream_time_ms, layout=self._rules.layout, forwarded=forwarded)

    def fold(self, records: Iterable[SourceInput]) -> FoldResult:
        """Apply consecutive records and return all that they gave; nothing of it is kept. About 10 us an event."""
        result = FoldResult()
        self._begin_chunk(result)
        for record in records:
            self.apply(record)
        self.usage.end_chunk()
        self._begin_chunk(FoldResult())
        return result

    def apply(self, source: SourceInput) -> None:
        """Apply one record: first let stream time pass up to its timestamp, then apply its content."""
        self._at.offset, self._at.outputs = source.offset, 0
        self._result.counts.records += 1
        if self._needs_log_time and source.timestamp_type != LOG_APPEND_TIME:
            self._outbox.reject(source, RejectedRecord("untimed", "the broker has not stamped it (CreateTime)"))
            return
        if source.timestamp > self.stream_time_ms:
            self.stream_time_ms = self._at.now_ms = source.timestamp
            if source.timestamp >= self.usage.due_ms:
                self.usage.put_out()
            self._close_passed()
        if source.headers and (verdict := read_unreadable(source.headers)) is not None:
            self._outbox.reject(source, RejectedRecord(*verdict))
            return
        try:
            record = decode_record(source.key, source.value)
            if type(record) is not EVENT and isinstance(record, OwnEvent):
                self._schemas.check(record.data.event_type, record.schema, str(record.data.metadata))
        except RejectedRecord as rejected:
            self._outbox.reject(source, rejected)
            return
        if source.key is not None and (type(record) is EVENT or isinstance(record, Keyed)):
            self._keyed(source, source.key, record)
        else:
            self._result.counts.ticks += 1

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop cached pages of these rows: another worker has written them."""
        self._memory.forget(keys)

    def _begin_chunk(self, result: FoldResult) -> None:
        self._result = result
        self._table.begin_chunk(result.changed)
        self._outbox.begin_chunk(result)
        self._memory.begin_chunk(result.pages)
        self.usage.begin_chunk(result)

    def _keyed(self, source: SourceInput, key: bytes, record: Keyed) -> None:
        """Decide whether a record is to be applied here and now, and apply it."""
        counts = self._result.counts
        place = self._seal.place_of(source, key, is_needed=not self._is_layout_2) if source.headers else None
        workspace_id = workspace_of(record)
        row = self._table.find(key, workspace_id)
        has_had_it = self._table.has_had_it(row)
        if row.session is None and not has_had_it and (home := self._partition_of(key)) != self._partition:
            self._outbox.forward(source, key, home, place)
        elif place is not None and not self._forwards.take(place):
            counts.forwarded_again += 1
        elif has_had_it:
            counts.already_applied += 1
        elif type(record) is EVENT or isinstance(record, Event):
            self._event(row, workspace_id, record, place, source)
        elif isinstance(record, Session):
            counts.sessions += 1
            self._session(row, workspace_id, record, source)
        elif isinstance(record, Expire):
            counts.expires += 1
            self._expire(row, workspace_id)
        else:
            counts.flushes += 1
            self._outbox.flush(key)

    def _event(self, row: Row, workspace_id: str, record: Event, place: LogPlace | None, source: SourceInput) -> None:
        state, details, event_id, identity = row.session, details_of(record), record.data.event_id, None
        if event_id:
            identity = identity_of(event_id, details)
            verdict = "new" if state is None else self._memory.judge(row.key, state, identity, self.stream_time_ms)
            if state is not None and verdict == "duplicate":
                self._result.counts.duplicates += 1
                self.usage.duplicate(workspace_id or state.workspace_id)
                return
            self._result.counts.reused_event_ids += verdict == "reused"
        else:
            event_id = missing_event_id(record.session_id, *(place or (self._partition, source.offset)))
        is_told = False
        if state is not None and state.is_open and ended_by(state, workspace_id, record, self._rules) is None:
            is_told = learn_visitor(state, record, self.stream_time_ms, self._rules)
        elif not record.passive:
            state = self._open(row, workspace_id, record, first_event_id=event_id)
            is_told = True
        elif state is None or not state.takes_late(workspace_id, self.stream_time_ms, self._rules):
            self._result.counts.passive += 1
            return
        if is_told:
            self._outbox.session(row.key, state)
        self._number(row, state, TakenEvent(source, record, event_id, details, workspace_id, identity))
        if state.is_open and (state.sequence >= self._rules.max_events or (is_told and state.is_full(self._rules))):
            self._close(row, state, "cap", self.stream_time_ms)

    def _number(self, row: Row, state: SessionState, event: TakenEvent) -> None:
        """Give an event the next number of its session. A closed session stays closed, and its row says so."""
        counts = self._result.counts
        counts.events += 1
        if self.usage.interval_ms:
            self.usage.event(state.workspace_id, event.source)
        state.sequence += 1
        if not event.record.passive:
            state.touch(self.stream_time_ms)
        if event.identity is not None:
            self._remember(row.key, state, event.identity)
        self._outbox.event(row.key, state, event)
        if not state.is_open:
            counts.late += 1
            self._outbox.session(row.key, state, is_late=True)
        self._table.put(row, state)

    def _session(self, row: Row, workspace_id: str, record: Session, source: SourceInput) -> None:
        state, is_told = row.session, True
        if state is None or not state.is_open or ended_by(state, workspace_id, record, self._rules):
            state = self._open(row, workspace_id, record, timeout_ms=record.data.timeout_seconds * 1000)
        else:
            before_ms = state.deadline_ms(self._rules)
            state.touch(self.stream_time_ms)
            is_told = not record.open_only and enrich(state, workspace_id, record, self.stream_time_ms, self._rules)
            self.deadlines.rearm(row.key, before_ms, state.deadline_ms(self._rules))
        self.usage.session_record(state.workspace_id, source)
        if is_told:
            self._outbox.session(row.key, state)
        self._table.put(row, state)
        if is_told and state.is_full(self._rules):
            self._close(row, state, "cap", self.stream_time_ms)

    def _expire(self, row: Row, workspace_id: str) -> None:
        state = row.session
        if state is not None and state.is_open and workspace_id in ("", state.workspace_id):
            self._close(row, state, "expired", self.stream_time_ms)
            self._outbox.flush(session_key(row.key))  # a session that is ended on purpose is shipped at once

    def _open(
        self, row: Row, workspace_id: str, record: Event | Session, *, first_event_id: str = "", timeout_ms: int = 0
    ) -> SessionState:
        """Open a key's first session under the key itself, and every later one under an id derived from its start."""
        rules, stub, now = self._rules, row.session, self.stream_time_ms
        inherited: dict[str, str] = {}
        if stub is not None:
            if stub.is_open and (reason := ended_by(stub, workspace_id, record, rules)):
                self._close(row, stub, reason, now)
            inherited = stub.inherited(rules.renewal_context, rules.max_context_bytes)
        context = {**inherited, **first_context(record, workspace_id, rules)}
        visitor = visitor_of(record) or (stub.passed_on() if stub else {})
        owner = context.get("workspace_id", "")
        name = session_key(row.key).decode()
        is_renewed = stub is not None and (stub.workspace_id == owner or self._is_layout_2)
        ordinal = stub.ordinal + 1 if stub is not None and is_renewed else int(looks_used(name, now, rules))
        state = SessionState(
            session_id=renewed_session_id(owner, name, ordinal, now, first_event_id) if ordinal else name,
            ordinal=ordinal,
            created_ms=now,
            last_activity_ms=now,
            timeout_ms=timeout_ms or rules.timeout_ms,
            context=context,
            recent=stub.recent if stub else b"",
            visitor=visitor,
            pages=stub.pages if stub else None,
            touches=first_touches(visitor, now, rules),
        )
        self._result.counts.opened += 1
        self._result.counts.rows_added += row.state is None
        self.usage.opened(owner)
        self.deadlines.arm(row.key, state.deadline_ms(rules))
        return state

    def _remember(self, key: bytes, state: SessionState, identity: bytes) -> None:
        if self._is_layout_2:
            remember_as_layout_2(state, identity)
            return
        remembers_first = not (state.is_open or state.remembered_ms)
        self._memory.remember(key, state, identity, self.stream_time_ms)
        if remembers_first:  # only then a deadline comes nearer: now there is something to forget
            self.deadlines.arm(key, state.deadline_ms(self._rules))

    def _close_passed(self) -> None:
        """Let everything happen whose deadline lies before now, in an order that only the states decide.

        The index may bring a row up early, and after a recovery at another moment than before it; sorting by the true
        deadline makes the outputs of this record the same either way.
        """
        due: _Due = []
        for key in self.deadlines.take_passed(self.stream_time_ms):
            row = self._table.stored(key)
            if row.state is not None:
                self._await(due, row, row.state, is_due=not self._table.has_had_it(row))
        while due:
            deadline, _, row = heappop(due)
            if row.state is not None and (left := self._pass(row, row.state, deadline)) is not None:
                self._await(due, row, left)

    def _await(self, due: _Due, row: Row, state: SessionState, *, is_due: bool = True) -> None:
        deadline = state.deadline_ms(self._rules)
        if deadline < self.stream_time_ms and is_due:
            heappush(due, (deadline, row.key, row))
        else:
            self.deadlines.arm(row.key, deadline)

    def _pass(self, row: Row, state: SessionState, deadline: int) -> SessionState | None:
        """Let a deadline pass; return the state that remains of the session, or None."""
        if state.is_open:
            in_time = state.last_activity_ms + state.timeout_ms == deadline
            self._close(row, state, "timeout" if in_time else "max_length", deadline)
            return state
        left: SessionState | None = state
        if state.close_reason == FORGOTTEN:
            left = None
            self._result.counts.rows_removed += 1
        else:
            self._memory.drop(row.key, state)
            if deadline >= state.closed_ms + self._rules.closed_stub_retention_ms:
                self._result.counts.stubs_removed += 1
                left = forgotten(self.stream_time_ms)
        self._table.put(row, left)
        return left

    def _close(self, row: Row, state: SessionState, reason: CloseReason, closed_ms: int) -> None:
        before_ms = state.deadline_ms(self._rules)
        state.close(reason, closed_ms)
        closed = self._result.counts.closed
        closed[reason] = closed.get(reason, 0) + 1
        self._outbox.session(row.key, state)
        if self._is_layout_2:
            state.shrink()
        self._table.put(row, state)
        self.deadlines.rearm(row.key, before_ms, state.deadline_ms(self._rules))
