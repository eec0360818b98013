"""The events of one day by workspace, added up from the topic of usage. Pure."""

from collections import Counter
from collections.abc import Container, Mapping
from typing import Any, Final

import orjson
from aiokafka import ConsumerRecord

from topics.headers import SourcePosition, read_position, was_sent_again

_BEFORE_ALL: Final = SourcePosition(-1, -1)


class DayTally:
    """Counts rows of usage of one day (UTC), each once, for the workspaces that are asked for."""

    def __init__(self, day: str, workspaces: Container[bytes | None]) -> None:
        """Begin with nothing; ``day`` is such as ``2026-11-28``, ``workspaces`` are the keys of their rows."""
        self.day = day
        self._workspaces = workspaces
        self._events: Counter[str] = Counter()
        self._last: dict[int, SourcePosition] = {}

    @property
    def events(self) -> Mapping[str, int]:
        """The events of each workspace that has sent any."""
        return self._events

    def take(self, record: ConsumerRecord) -> None:
        """Add one record of the topic. Repeats, rows of other days and workspaces without a quota count for nothing.

        Raises:
            ValueError, KeyError, TypeError: somebody else has written to the topic.
        """
        position, last = read_position(record.headers), self._last.get(record.partition, _BEFORE_ALL)
        if position is None or position <= last or was_sent_again(record.headers):
            return
        self._last[record.partition] = position
        if record.key not in self._workspaces:
            return
        row: dict[str, Any] = orjson.loads(record.value or b"")
        if row["minute"].startswith(self.day):
            self._events[row["workspace_id"]] += int(row["events"])
