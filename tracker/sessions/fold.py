"""Every transition of a session, in one file: the fold over one partition's log.

``now`` is stream time, the running maximum of the records' own timestamps; no clock is read and no random number
drawn, so whoever folds the same log gets the same states, numbers, ids and rows, byte for byte.

    record            session before       after, and what goes out
    any               open, now > deadline closed (timeout or max_length): session row. Before the record itself.
    any               stub, now > deadline forgotten: as if the key had never been used. But stale writes can't win.
    any               forgotten, likewise  gone
    not one of ours   any                  as it was: dead letter
    tick              any                  only time has passed
    of another        none                 none: the record goes to the partition of its key; if it has been
      partition's key                        forwarded once already, to the dead letters
    a copy that was   any                  as it was: nothing
      taken before
    event             any, id remembered   as it was: nothing (a duplicate takes no number)
    event             none, or stub        open, sequence 1: session row, event row
    event             open                 sequence + 1, touched: event row; a session row first, if the visitor is new
    session           none, or stub        open, sequence 0: session row
    session           open                 touched; if context, time-out or visitor changed: session row
    event, session    open, now at a cap   closed (cap): session row. After the record itself; the next event renews.
    expire            open                 closed (expired): session row
    expire            none, or stub        as it was (an expire that names another workspace finds none)
    flush             any                  as it was: a marker in band for the sink, in both output topics

A deadline is inclusive: an event exactly at it still belongs. A stub remembers event ids unless it timed out. A state
that already carries this record's offset (or a later one) has had it, from a run that was killed between two changelog
batches, and is left alone. A key that is known here is at home here; only an unknown one is hashed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from topics.codec import KeyedRecord, RejectedRecord, decode_source
from topics.control import ExpireRecord
from topics.event import EventRecord
from topics.headers import (
    FLUSH,
    RETRY_COUNT,
    SOURCE_INDEX,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    TRACEPARENT,
    Headers,
    LogPlace,
    read_forwarded_from,
    read_retry_count,
    read_traceparent,
)
from topics.session import CloseReason, SessionRecord
from tracker.sessions.context import context_of, learn_visitor, visitor_of
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.forwards import ForwardMarks, forward_of
from tracker.sessions.ids import birth_ms, fingerprint, missing_event_id, renewed_session_id
from tracker.sessions.outputs import ChangedState, FoldResult, Output, SourceInput
from tracker.sessions.rows import dead_letter, event_row, session_row
from tracker.sessions.rules import Rules
from tracker.sessions.state import FORGOTTEN, SessionState, Watermark, forgotten


@dataclass(slots=True)
class StoredState:
    """A session as the table has it: the state, and the last source offset applied to it."""

    offset: int
    state: SessionState


#: Looks a session up in the table; None if its key is not known.
Lookup = Callable[[bytes], StoredState | None]

#: Says which partition a key belongs to.
PartitionOf = Callable[[bytes], int]


class PartitionFold:
    """Folds the records of one partition, in log order. Holds stream time and the deadlines; states come by lookup.

    ``mark`` is what was written down with W, from which the fold goes on.
    """

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        partition_of: PartitionOf,
        rules: Rules,
        lookup: Lookup,
        deadlines: Deadlines,
        mark: Watermark,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._partition_of = partition_of
        self._partition_header = (SOURCE_PARTITION, b"%d" % partition)
        self._rules = rules
        self._lookup = lookup
        self._result = FoldResult()
        self._offset = -1
        self._index = 0
        self._forwards = ForwardMarks(mark.forwarded)
        self.deadlines = deadlines
        self.stream_time_ms = mark.stream_time_ms

    @property
    def mark(self) -> Watermark:
        """What has to be written down with W."""
        return Watermark(stream_time_ms=self.stream_time_ms, forwarded=self._forwards.snapshot())

    def fold(self, records: Iterable[SourceInput]) -> FoldResult:
        """Apply consecutive records and return all that they gave. About 12 us an event, most of it decoding."""
        self._result = result = FoldResult()
        for record in records:
            self.apply(record)
        return result

    def apply(self, source: SourceInput) -> None:
        """Apply one record: first the time that has passed, then what it says."""
        self._offset = source.offset
        self._index = 0
        self._result.counts.records += 1
        if source.timestamp > self.stream_time_ms:
            self.stream_time_ms = source.timestamp
            self._close_passed()
        try:
            record = decode_source(source.key, source.value)
        except RejectedRecord as rejected:
            self._reject(source, rejected)
            return
        if record["type"] == "tick" or source.key is None:
            self._result.counts.ticks += 1
            return
        self._keyed(source, source.key, record)

    def _keyed(self, source: SourceInput, key: bytes, record: KeyedRecord) -> None:
        """Decide whether a record is to be applied here and now, and apply it."""
        counts = self._result.counts
        place = read_forwarded_from(source.headers) if source.headers else None
        state, has_had_it = self._held(key)
        if state is None and (home := self._partition_of(key)) != self._partition:
            self._forward(source, key, home, place)
        elif place is not None and not self._forwards.take(place):
            counts.forwarded_again += 1
        elif has_had_it:
            counts.already_applied += 1
        else:
            self._apply(key, state, record, source, place or LogPlace(self._partition, self._offset))

    def _apply(
        self, key: bytes, state: SessionState | None, record: KeyedRecord, source: SourceInput, place: LogPlace
    ) -> None:
        counts = self._result.counts
        match record["type"]:
            case "event":
                self._event(key, state, record, place, source)
            case "session":
                counts.sessions += 1
                self._session(key, state, record)
            case "expire":
                counts.expires += 1
                self._expire(key, state, record)
            case "flush":
                counts.flushes += 1
                self._flush(key)

    def _event(
        self, key: bytes, state: SessionState | None, record: EventRecord, place: LogPlace, source: SourceInput
    ) -> None:
        data = record["data"]
        event_id = data.get("event_id") or missing_event_id(record["session_id"], *place)
        mark = fingerprint(event_id)
        if state is not None and state.has_seen(mark):
            self._result.counts.duplicates += 1
            return
        is_told = True
        if state is None or not state.is_open:
            state = self._open(key, state, first_event_id=event_id, timeout_ms=self._rules.timeout_ms)
            state.context, state.visitor = context_of(data), visitor_of(record) or state.visitor
        else:
            is_told = learn_visitor(state, record)
        if is_told:
            self._emit_session(key, state)
        state.sequence += 1
        state.touch(self.stream_time_ms)
        state.remember(mark, self._rules.duplicate_window_events)
        self._result.counts.events += 1
        headers = self._headers()
        if retries := record.get("retry_count") or (source.headers and read_retry_count(source.headers)):
            self._result.counts.retried += 1
            headers.append((RETRY_COUNT, b"%d" % retries))
        if source.headers and (traceparent := read_traceparent(source.headers)) is not None:
            headers.append((TRACEPARENT, traceparent))
        self._result.events.append(Output(key, event_row(record, state, event_id), headers))
        self._changed(key, state)
        if state.sequence >= self._rules.max_events or (is_told and self._is_context_full(state)):
            self._close(key, state, "cap", self.stream_time_ms)

    def _session(self, key: bytes, state: SessionState | None, record: SessionRecord) -> None:
        data = record["data"]
        timeout_ms = data["timeout_seconds"] * 1000 if "timeout_seconds" in data else None
        context = context_of(data)
        is_told = True
        if state is None or not state.is_open:
            state = self._open(key, state, first_event_id="", timeout_ms=timeout_ms or self._rules.timeout_ms)
            state.context, state.visitor = context, visitor_of(record) or state.visitor
        else:
            before = (state.context, state.timeout_ms)
            state.touch(self.stream_time_ms)
            state.context = {**state.context, **context}
            state.timeout_ms = timeout_ms or state.timeout_ms
            is_told = learn_visitor(state, record) or (state.context, state.timeout_ms) != before
            self.deadlines.arm(key, state.deadline_ms(self._rules))
        if is_told:
            self._emit_session(key, state)
        self._changed(key, state)
        if is_told and self._is_context_full(state):
            self._close(key, state, "cap", self.stream_time_ms)

    def _expire(self, key: bytes, state: SessionState | None, record: ExpireRecord) -> None:
        if state is None or not state.is_open:
            return
        workspace_id = record.get("data", {}).get("workspace_id")
        if workspace_id is None or workspace_id == state.context.get("workspace_id"):
            self._close(key, state, "expired", self.stream_time_ms)
            self._flush(key)  # whoever ends a session on purpose wants to see it whole

    def _flush(self, key: bytes) -> None:
        self._result.events.append(Output(key, None, [*self._headers(), (FLUSH, b"1")]))
        self._result.sessions.append(Output(key, None, [*self._headers(), (FLUSH, b"1")]))

    def _is_context_full(self, state: SessionState) -> bool:
        return state.context_bytes >= self._rules.max_context_bytes

    def _open(self, key: bytes, stub: SessionState | None, *, first_event_id: str, timeout_ms: int) -> SessionState:
        """Open a key's first session under the key itself, and every later one under an id derived from its start."""
        name = key.decode()
        ordinal = stub.ordinal + 1 if stub else int(self._looks_used(name))
        now = self.stream_time_ms
        state = SessionState(
            session_id=renewed_session_id(name, ordinal, now, first_event_id) if ordinal else name,
            ordinal=ordinal,
            created_ms=now,
            last_activity_ms=now,
            timeout_ms=timeout_ms,
            recent=stub.recent if stub else b"",
            visitor=stub.visitor if stub else {},
        )
        self._result.counts.opened += 1
        self.deadlines.arm(key, state.deadline_ms(self._rules))
        return state

    def _looks_used(self, key: str) -> bool:
        """Return whether the key is older than any stub is kept, by the time of birth that it carries itself."""
        born = birth_ms(key)
        return born is not None and born < self.stream_time_ms - self._rules.closed_stub_retention_ms

    def _close_passed(self) -> None:
        """Close or drop all whose deadline lies before now, in an order that only the states decide.

        The index may bring a key up early, and after a recovery at another moment than before it; sorting by the true
        deadline makes the outputs of this record the same either way.
        """
        due: list[tuple[int, bytes, SessionState]] = []
        for key in self.deadlines.take_passed(self.stream_time_ms):
            state, has_had_it = self._stands(key)
            if state is None:
                continue
            deadline = state.deadline_ms(self._rules)
            if deadline < self.stream_time_ms and not has_had_it:
                due.append((deadline, key, state))
            else:
                self.deadlines.arm(key, deadline)
        for deadline, key, state in sorted(due, key=lambda entry: entry[:2]):
            if state.is_open:
                in_time = state.last_activity_ms + state.timeout_ms == deadline
                self._close(key, state, "timeout" if in_time else "max_length", deadline)
            elif state.close_reason == FORGOTTEN:
                self._result.changed[key] = ChangedState(self._offset, None)
            else:
                self._result.counts.stubs_removed += 1
                left = forgotten(self.stream_time_ms)
                self._changed(key, left)
                self.deadlines.arm(key, left.deadline_ms(self._rules))

    def _close(self, key: bytes, state: SessionState, reason: CloseReason, closed_ms: int) -> None:
        state.close(reason, closed_ms)
        closed = self._result.counts.closed
        closed[reason] = closed.get(reason, 0) + 1
        self._emit_session(key, state)
        state.shrink()
        self._changed(key, state)
        self.deadlines.arm(key, state.deadline_ms(self._rules))

    def _emit_session(self, key: bytes, state: SessionState) -> None:
        self._result.sessions.append(Output(key, session_row(key.decode(), state, self._offset), self._headers()))

    def _forward(self, source: SourceInput, key: bytes, home: int, place: LogPlace | None) -> None:
        if place is not None:
            detail = f"forwarded from {place.partition}:{place.offset}, but its key belongs to partition {home}"
            self._reject(source, RejectedRecord("misrouted", detail))
            return
        self._result.counts.forwarded += 1
        self._result.forwards.append(forward_of(source, key, home, self._partition))

    def _reject(self, source: SourceInput, rejected: RejectedRecord) -> None:
        rejects = self._result.counts.rejected
        rejects[rejected.reason] = rejects.get(rejected.reason, 0) + 1
        letter = dead_letter(source, self._topic, self._partition, rejected)
        self._result.dead_letters.append(Output(source.key, letter, self._headers()))

    def _headers(self) -> Headers:
        index = self._index
        self._index = index + 1
        return [self._partition_header, (SOURCE_OFFSET, b"%d" % self._offset), (SOURCE_INDEX, b"%d" % index)]

    def _held(self, key: bytes) -> tuple[SessionState | None, bool]:
        """Return the session if its key is known, and whether it has had this record already."""
        state, has_had_it = self._stands(key)
        return (None if state is not None and state.close_reason == FORGOTTEN else state), has_had_it

    def _stands(self, key: bytes) -> tuple[SessionState | None, bool]:
        """Return what the table has of a key, and whether that has had this record already."""
        changed = self._result.changed.get(key)
        if changed is not None:
            return changed.state, False
        stored = self._lookup(key)
        if stored is None:
            return None, False
        return stored.state, stored.offset >= self._offset

    def _changed(self, key: bytes, state: SessionState) -> None:
        self._result.changed[key] = ChangedState(self._offset, state)
