"""Every transition of a session, in one file: the fold over one partition's log.

``now`` is stream time, the running maximum of the records' own timestamps; no clock is read and no random number
drawn, so whoever folds the same log gets the same states, numbers, ids and rows, byte for byte.

    record            session before       after, and what goes out
    any               open, now > deadline closed (timeout or max_length): session row. Before the record itself.
    any               stub, now > deadline gone
    event             none, or stub        open, sequence 1: session row, event row
    event             open, id remembered  as it was: nothing (a duplicate takes no number)
    event             open                 sequence + 1, touched: event row; a session row first, if the visitor is new
    session           none, or stub        open, sequence 0: session row
    session           open                 touched; if context, time-out or visitor changed: session row
    expire            open                 closed (expired): session row
    expire            none, or stub        as it was (an expire that names another workspace finds none)
    flush             any                  as it was: a marker in band, for the sink
    tick              any                  only time has passed
    not one of ours   any                  as it was: dead letter

A deadline is inclusive: an event exactly at it still belongs. A state that already carries this record's offset (or a
later one) has had it, from a run that was killed between two changelog batches, and is left alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from topics.codec import KeyedRecord, RejectedRecord, decode_source
from topics.control import ExpireRecord, TickRecord
from topics.event import EventInput, EventRecord
from topics.headers import FLUSH, SOURCE_INDEX, SOURCE_OFFSET, SOURCE_PARTITION, Headers
from topics.session import CONTEXT_FIELDS, CloseReason, SessionInput, SessionRecord
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.ids import birth_ms, fingerprint, missing_event_id, renewed_session_id
from tracker.sessions.outputs import ChangedState, FoldResult, Output, SourceInput
from tracker.sessions.rows import dead_letter, event_row, session_row
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState


@dataclass(slots=True)
class StoredState:
    """A session as the table has it: the state, and the last source offset applied to it."""

    offset: int
    state: SessionState


#: Looks a session up in the table; None if its key is not known.
Lookup = Callable[[bytes], StoredState | None]


def context_of(data: EventInput | SessionInput) -> dict[str, str]:
    """Return the context that a record carries; an empty value is none."""
    return {name: str(value) for name in CONTEXT_FIELDS if (value := data.get(name))}


def visitor_of(record: EventRecord | SessionRecord) -> dict[str, str | bool]:
    """Return what a record tells of its visitor; an empty value is none."""
    return {name: value for name, value in cast("dict[str, str | bool]", record.get("visitor", {})).items() if value}


class PartitionFold:
    """Folds the records of one partition, in log order. Holds stream time and the deadlines; states come by lookup."""

    def __init__(
        self, *, topic: str, partition: int, rules: Rules, lookup: Lookup, deadlines: Deadlines, stream_time_ms: int
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._partition_header = (SOURCE_PARTITION, b"%d" % partition)
        self._rules = rules
        self._lookup = lookup
        self._result = FoldResult()
        self._offset = -1
        self._index = 0
        self.deadlines = deadlines
        self.stream_time_ms = stream_time_ms

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
        self._dispatch(source.key, record)

    def _dispatch(self, key: bytes | None, record: KeyedRecord | TickRecord) -> None:
        if record["type"] == "tick" or key is None:
            self._result.counts.ticks += 1
            return
        state, has_had_it = self._held(key)
        if has_had_it:
            self._result.counts.already_applied += 1
            return
        match record["type"]:
            case "event":
                self._event(key, state, record)
            case "session":
                self._session(key, state, record)
            case "expire":
                self._expire(key, state, record)
            case "flush":
                self._result.events.append(Output(key, None, [*self._headers(), (FLUSH, b"1")]))

    def _event(self, key: bytes, state: SessionState | None, record: EventRecord) -> None:
        data = record["data"]
        event_id = data.get("event_id") or missing_event_id(record["session_id"], self._partition, self._offset)
        mark = fingerprint(event_id)
        if state is None or not state.is_open:
            state = self._open(key, state, first_event_id=event_id, timeout_ms=self._rules.timeout_ms)
            state.context = context_of(data)
            state.visitor = visitor_of(record)
            self._emit_session(key, state)
        elif state.has_seen(mark):
            self._result.counts.duplicates += 1
            return
        elif self._learn_visitor(state, record):
            self._emit_session(key, state)
        state.sequence += 1
        state.touch(self.stream_time_ms)
        state.remember(mark, self._rules.duplicate_window_events)
        self._result.counts.events += 1
        self._result.events.append(Output(key, event_row(record, state, event_id), self._headers()))
        self._changed(key, state)

    def _session(self, key: bytes, state: SessionState | None, record: SessionRecord) -> None:
        data = record["data"]
        timeout_ms = data["timeout_seconds"] * 1000 if "timeout_seconds" in data else None
        context = context_of(data)
        if state is None or not state.is_open:
            state = self._open(key, state, first_event_id="", timeout_ms=timeout_ms or self._rules.timeout_ms)
            state.context = context
            state.visitor = visitor_of(record)
            self._emit_session(key, state)
        else:
            before = (state.context, state.timeout_ms)
            state.touch(self.stream_time_ms)
            state.context = {**state.context, **context}
            state.timeout_ms = timeout_ms or state.timeout_ms
            is_learned = self._learn_visitor(state, record)
            if is_learned or (state.context, state.timeout_ms) != before:
                self._emit_session(key, state)
            self.deadlines.arm(key, state.deadline_ms(self._rules))
        self._changed(key, state)

    def _learn_visitor(self, state: SessionState, record: EventRecord | SessionRecord) -> bool:
        """Keep the visitor of the first record that carries one; say whether this is it."""
        if state.visitor or "visitor" not in record:
            return False
        state.visitor = visitor_of(record)
        return bool(state.visitor)

    def _expire(self, key: bytes, state: SessionState | None, record: ExpireRecord) -> None:
        if state is None or not state.is_open:
            return
        workspace_id = record.get("data", {}).get("workspace_id")
        if workspace_id is None or workspace_id == state.context.get("workspace_id"):
            self._close(key, state, "expired", self.stream_time_ms)

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
            state, has_had_it = self._held(key)
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
            else:
                self._result.changed[key] = ChangedState(self._offset, None)

    def _close(self, key: bytes, state: SessionState, reason: CloseReason, closed_ms: int) -> None:
        state.close(reason, closed_ms)
        self._result.counts.closed += 1
        self._emit_session(key, state)
        state.shrink()
        self._changed(key, state)
        self.deadlines.arm(key, state.deadline_ms(self._rules))

    def _emit_session(self, key: bytes, state: SessionState) -> None:
        self._result.sessions.append(Output(key, session_row(key.decode(), state, self._offset), self._headers()))

    def _reject(self, source: SourceInput, rejected: RejectedRecord) -> None:
        self._result.counts.rejected += 1
        letter = dead_letter(source, self._topic, self._partition, rejected)
        self._result.dead_letters.append(Output(source.key, letter, self._headers()))

    def _headers(self) -> Headers:
        index = self._index
        self._index = index + 1
        return [self._partition_header, (SOURCE_OFFSET, b"%d" % self._offset), (SOURCE_INDEX, b"%d" % index)]

    def _held(self, key: bytes) -> tuple[SessionState | None, bool]:
        """Return the session as it stands, and whether it has had this record already."""
        changed = self._result.changed.get(key)
        if changed is not None:
            return changed.state, False
        stored = self._lookup(key)
        if stored is None:
            return None, False
        return stored.state, stored.offset >= self._offset

    def _changed(self, key: bytes, state: SessionState) -> None:
        self._result.changed[key] = ChangedState(self._offset, state)
