"""Where the outputs of a record go: rows, markers, letters and forwards, each with its source position."""

from topics.codec import RejectedRecord
from topics.dead_letter import letter_key
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
    read_retry_count,
    read_traceparent,
)
from tracker.sessions.forwards import ForwardSeal, forward_of
from tracker.sessions.keys import session_key
from tracker.sessions.outputs import FoldResult, Output, SourceInput
from tracker.sessions.rows import dead_letter, event_row, session_row
from tracker.sessions.state import SessionState


class Outbox:
    """Gathers what the records of one partition give, and counts the outputs of each record."""

    __slots__ = ("_index", "_offset", "_partition", "_partition_header", "_result", "_seal", "_topic")

    def __init__(self, topic: str, partition: int, seal: ForwardSeal) -> None:
        self._seal = seal
        self._topic = topic
        self._partition = partition
        self._partition_header = (SOURCE_PARTITION, b"%d" % partition)
        self._result = FoldResult()
        self._offset = -1
        self._index = 0

    def begin_chunk(self, result: FoldResult) -> None:
        """Put what comes into this result."""
        self._result = result

    def begin_record(self, offset: int) -> None:
        """Begin the outputs of the record at this offset."""
        self._offset = offset
        self._index = 0

    def session(self, row: bytes, state: SessionState, *, is_late: bool = False) -> None:
        """Put out a session as it is now; ``is_late``: closed, and counting a passive event that came later."""
        key = session_key(row)
        value = session_row(key.decode(), state, self._offset, is_late=is_late)
        self._result.sessions.append(Output(key, value, self._headers()))

    def event(self, source: SourceInput, record: EventRecord, state: SessionState, event_id: str) -> None:
        """Put out an event with the number that its session has just given."""
        headers = self._headers()
        if retries := record.get("retry_count") or (source.headers and read_retry_count(source.headers)):
            self._result.counts.retried += 1
            headers.append((RETRY_COUNT, b"%d" % retries))
        if source.headers and (traceparent := read_traceparent(source.headers)) is not None:
            headers.append((TRACEPARENT, traceparent))
        self._result.events.append(Output(source.key, event_row(record, state, event_id), headers))

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
        letter = dead_letter(source, self._topic, self._partition, rejected)
        self._result.dead_letters.append(Output(letter_key(source.key), letter, self._headers()))

    def _headers(self) -> Headers:
        index = self._index
        self._index = index + 1
        return [self._partition_header, (SOURCE_OFFSET, b"%d" % self._offset), (SOURCE_INDEX, b"%d" % index)]
