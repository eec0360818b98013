"""What docs/usage.md says of counting, once more: a note of everything, summed up when it is put out."""

from collections.abc import Callable
from typing import Any

import orjson

from tests.reference.rows import text_of_ms
from topics.catalog import USAGE

WHAT = ("events", "sessions", "bytes", "rejected", "duplicates")


class UsageModel:
    """The usage of one partition that is not put out yet. ``put`` takes topic, key, row, offset and place."""

    def __init__(self, rules: Any, partition: int, put: Callable[..., None]) -> None:
        self._every_ms = 0 if rules.keys_are_used else rules.usage_interval_ms
        self._partition = partition
        self._put = put
        self._notes: list[tuple[str, str, int]] = []
        self._began_ms = 0
        self.source: Any = None
        self.now = 0

    def begin(self, source: Any, now: int) -> None:
        """A record is at hand, and it is so late."""
        self.source, self.now = source, now
        if self._notes and now >= self._began_ms + self._every_ms:
            for nth, workspace in enumerate(sorted({workspace for workspace, _, _ in self._notes})):
                row = {what: sum(n for w, kind, n in self._notes if (w, kind) == (workspace, what)) for what in WHAT}
                place = {"source_partition": self._partition, "version": source.offset}
                row |= {"workspace_id": workspace, "minute": text_of_ms(self._began_ms)}
                self._put(USAGE.suffix, workspace.encode() or None, row | place, source.offset, nth, {})
            self._notes.clear()

    def note(self, workspace: str, what: str, amount: int = 1) -> None:
        """The record at hand counts for a workspace."""
        if not self._every_ms:
            return
        if not self._notes:
            self._began_ms = self.now // self._every_ms * self._every_ms
        self._notes.append((workspace, what, amount))

    def note_bytes(self, workspace: str) -> None:
        """The size of the record at hand counts for a workspace."""
        self.note(workspace, "bytes", len(self.source.key) + len(self.source.value))

    def note_rejected(self) -> None:
        """The record at hand is a dead letter."""
        try:
            record = orjson.loads(self.source.value or b"")
            names = record.get("workspace_id", ""), record.get("data", {}).get("workspace_id", "")
            workspace = names[0] or names[1] if all(isinstance(name, str) for name in names) else ""
        except (ValueError, AttributeError, RecursionError):
            workspace = ""
        self.note(workspace if len(workspace) <= 128 else "", "rejected")
