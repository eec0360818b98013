"""Where the outputs of a record go: rows, markers, letters and forwards, each with its source position."""

from functools import partial

from topics.codec import RejectedRecord
from topics.dead_letter import letter_key
from topics.headers import (
    FLUSH,
    RETRY_COUNT,
    TRACEPARENT,
    Headers,
    LogPlace,
    position_writer,
    read_retry_count,
    read_traceparent,
    write_old_position,
)
from tracker.sessions.forwards import ForwardSeal, forward_of
from tracker.sessions.keys import session_key
from tracker.sessions.outputs import FoldResult, Output, SourceInput, TakenEvent
from tracker.sessions.rows import EventRows, dead_letter, session_row
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState
from tracker.sessions.usage import Usage
from tracker.sessions.working_table import At


class Outbox:
    """Gathers what the records of one partition give, and counts the outputs of each record."""

    __slots__ = ("_at", "_partition", "_result", "_rows", "_seal", "_topic", "_usage", "_write_position")

    def __init__(self, at: At, topic: str, partition: int, seal: ForwardSeal, usage: Usage, *, rules: Rules) -> None:
        self._at = at
        self._topic = topic
        self._partition = partition
        self._seal = seal
        self._usage = usage
        self._rows = EventRows()
        is_old = rules.keeps_to_layout_2
        self._write_position = partial(write_old_position, partition) if is_old else position_writer(partition)
        self._result = FoldResult()

    def begin_chunk(self, result: FoldResult) -> None:
        """Put the following outputs into this result."""
        self._result = result

    def session(self, row: bytes, state: SessionState, *, is_late: bool = False) -> None:
        """Put out a session as it is now; ``is_late``: closed, and counting a passive event that came later."""
        key = session_key(row)
        value = session_row(key.decode(), state, self._at.offset, is_late=is_late)
        self._result.sessions.append(Output(key, value, self._headers()))

    def event(self, row: bytes, state: SessionState, event: TakenEvent) -> None:
        """Put out an event with the number that its session has just given."""
        headers, source, record = self._headers(), event.source, event.record
        if record.retry_count or source.headers:
            self._copy_headers(headers, source, record.retry_count)
        self._result.events.append(Output(source.key, self._rows.row(row, state, event), headers))

    def _copy_headers(self, headers: Headers, source: SourceInput, retry_count: int) -> None:
        """Add what the headers of an event hand on to its row's."""
        if retries := retry_count or read_retry_count(source.headers):
            self._result.counts.retried += 1
            headers.append((RETRY_COUNT, b"%d" % retries))
        if (traceparent := read_traceparent(source.headers)) is not None:
            headers.append((TRACEPARENT, traceparent))

    def flush(self, key: bytes) -> None:
        """Put out a marker in both output topics."""
        self._result.events.append(Output(key, None, [*self._headers(), (FLUSH, b"1")]))
        self._result.sessions.append(Output(key, None, [*self._headers(), (FLUSH, b"1")]))

    def forward(self, source: SourceInput, key: bytes, home: int, place: LogPlace | None) -> None:
        """Send a record to the partition of its key; one that was forwarded already is rejected."""
        if place is not None:
            detail = f"forwarded from {place.partition}:{place.offset}, but its key belongs to partition {home}"
            self.reject(source, RejectedRecord("misrouted", detail))
            return
        self._result.counts.forwarded += 1
        self._result.forwards.append(forward_of(source, key, home, self._partition, self._seal))

    def reject(self, source: SourceInput, rejected: RejectedRecord) -> None:
        """Put out a record as a dead letter."""
        rejects = self._result.counts.rejected
        rejects[rejected.reason] = rejects.get(rejected.reason, 0) + 1
        self._usage.rejected(source)
        letter = dead_letter(source, self._topic, self._partition, rejected)
        self._result.dead_letters.append(Output(letter_key(source.key), letter, self._headers()))

    def _headers(self) -> Headers:
        at = self._at
        nth = at.outputs
        at.outputs = nth + 1
        return self._write_position(at.offset, nth)
