"""Usage: what each workspace sends, counted as the log is folded, so that a replay gives the same bill.

Counted for a minute of stream time, and put out as one row a workspace by the first record after it. No total is kept:
the rows are added up by who reads them, and a replay of a part of the log gives the same ones. The counts of the
current minute are one row of the table (``USAGE_KEY``), written in front of the states. So the counts contain every
record that a chunk's states contain, and after a kill no record is counted twice or left out.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from topics.codec import encode
from topics.fields import MAX_ID_CHARS
from topics.headers import write_position
from topics.system.usage import UsageRow
from tracker.sessions.outputs import FoldResult, Output, SourceInput
from tracker.sessions.rules import Rules
from tracker.sessions.state import UsageCount, UsageMark
from tracker.sessions.working_table import At

#: Workspaces that are counted at a time; before one more is, all counts are put out. About 30 bytes each in the table.
MAX_WORKSPACES: Final = 500
#: Later than any stream time.
NEVER_MS: Final = 2**62


class Usage:
    """Counts the records of one partition. About 0.2 us an event."""

    __slots__ = ("_at", "_counts", "_minute_ms", "_offset", "_partition", "_result", "_topic", "due_ms", "interval_ms")

    def __init__(self, at: At, topic: str, partition: int, rules: Rules) -> None:
        #: 0 (off) while workers of 0.1.0 run too, and in the log of an import.
        self.interval_ms = rules.usage_interval_ms if not rules.keeps_to_layout_2 and not rules.keys_are_used else 0
        self._at = at
        self._topic = topic
        self._partition = partition
        self._result = FoldResult()
        self.resume(-1, UsageMark())

    def resume(self, offset: int, mark: UsageMark) -> None:
        """Go on from a stored mark, which has counted the records up to ``offset``."""
        #: If usage is off, every record counts as counted already.
        self._offset = offset if self.interval_ms else NEVER_MS
        self._minute_ms = mark.minute_ms
        self._counts = mark.counts
        #: When the counts are to be put out, in stream time.
        self.due_ms = mark.minute_ms + self.interval_ms if mark.counts and self.interval_ms else NEVER_MS

    def begin_chunk(self, result: FoldResult) -> None:
        """Put the following rows into this result."""
        self._result = result

    def end_chunk(self) -> None:
        """Put the mark to store into the result, if the chunk has changed it."""
        if self._result.usage_offset >= 0:
            self._offset = self._result.usage_offset
            self._result.usage_mark = UsageMark(self._minute_ms, self._counts)

    def event(self, workspace_id: str, source: SourceInput) -> None:
        """Count an event that has taken a number."""
        offset = self._at.offset
        if offset > self._offset:  # as in _of, which would cost every event a call
            count = self._counts.get(workspace_id) or self._begin(workspace_id)
            count.events += 1
            count.bytes += len(source.key or b"") + len(source.value or b"")
            self._result.usage_offset = offset

    def duplicate(self, workspace_id: str) -> None:
        """Count an event that has come before."""
        if (count := self._of(workspace_id)) is not None:
            count.duplicates += 1

    def session_record(self, workspace_id: str, source: SourceInput) -> None:
        """Count the bytes of a session record."""
        if (count := self._of(workspace_id)) is not None:
            count.bytes += _size(source)

    def opened(self, workspace_id: str) -> None:
        """Count a session that opens."""
        if (count := self._of(workspace_id)) is not None:
            count.sessions += 1

    def rejected(self, source: SourceInput) -> None:
        """Count a record that can't be taken, for the workspace that it names, if that can be read."""
        if (count := self._of(_named(source.value))) is not None:
            count.rejected += 1

    def put_out(self) -> None:
        """Put the counts out, a row a workspace, and begin again at zero."""
        at, result, partition = self._at, self._result, self._partition
        for nth, (workspace_id, count) in enumerate(sorted(self._counts.items())):
            row: UsageRow = {
                "workspace_id": workspace_id,
                "minute": datetime.fromtimestamp(self._minute_ms / 1000, UTC),
                "source_topic": self._topic,
                "source_partition": partition,
                "events": count.events,
                "sessions": count.sessions,
                "bytes": count.bytes,
                "rejected": count.rejected,
                "duplicates": count.duplicates,
                "version": at.offset,
            }
            headers = write_position(partition, at.offset, nth)
            result.usage.append(Output(workspace_id.encode() or None, encode(row), headers))
        result.usage_offset = at.offset
        self._counts = {}
        self.due_ms = NEVER_MS

    def _of(self, workspace_id: str) -> UsageCount | None:
        """Return where the record at hand is counted; None if it has been, in a run that was killed."""
        offset = self._at.offset
        if offset <= self._offset:
            return None
        self._result.usage_offset = offset
        count = self._counts.get(workspace_id)
        return self._begin(workspace_id) if count is None else count

    def _begin(self, workspace_id: str) -> UsageCount:
        if len(self._counts) >= MAX_WORKSPACES:
            self.put_out()
        if not self._counts:
            now_ms = self._at.now_ms
            self._minute_ms = now_ms - now_ms % self.interval_ms
            self.due_ms = self._minute_ms + self.interval_ms
        count = self._counts[workspace_id] = UsageCount()
        return count


class _Scope(msgspec.Struct, frozen=True):
    workspace_id: str = ""


class _Named(msgspec.Struct, frozen=True):
    workspace_id: str = ""
    data: _Scope = _Scope()


_read_named: Final = msgspec.json.Decoder(_Named).decode


def _named(value: bytes | None) -> str:
    """Return the workspace that a rejected record names; empty if it can't be read. About 1 us."""
    try:
        record = _read_named(value or b"")
    except (ValueError, RecursionError):
        return ""
    name = record.workspace_id or record.data.workspace_id
    return name if len(name) <= MAX_ID_CHARS else ""


def _size(source: SourceInput) -> int:
    return len(source.key or b"") + len(source.value or b"")
