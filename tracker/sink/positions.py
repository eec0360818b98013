"""Each output once: source positions of one partition only rise, so an output with a lower one is a repeat."""

import re
from typing import Final, NamedTuple

from topics.headers import SourcePosition

#: Before the first output of any partition.
NOTHING_SEEN = SourcePosition(-1, -1)


class Committed(NamedTuple):
    """The metadata of an offset that the sink commits: the last source position seen, and the topic's id."""

    last_seen: SourcePosition
    #: Empty: the broker knows no ids of topics, or an earlier release has written this.
    topic_id: str = ""

    def encode(self) -> str:
        """Return it as the metadata of a committed offset."""
        return f"{self.last_seen}:{self.topic_id}" if self.topic_id else str(self.last_seen)


_METADATA: Final = re.compile(r"([0-9]{1,19}):([0-9]{1,19})(?::([0-9a-f]{32}))?")


def read_committed(metadata: str) -> Committed:
    """Read the metadata of a committed offset back; unreadable metadata mean that nothing has been seen."""
    found = _METADATA.fullmatch(metadata)
    if found is None:
        return Committed(NOTHING_SEEN)
    return Committed(SourcePosition(int(found[1]), int(found[2])), found[3] or "")


class SeenPositions:
    """The duplicate filter of one output partition. It survives restarts as the committed offset's metadata."""

    def __init__(self, metadata: str = "") -> None:
        self.last = read_committed(metadata).last_seen

    def is_new(self, position: SourcePosition) -> bool:
        """Return whether an output has not been seen yet, and remember it."""
        if position <= self.last:
            return False
        self.last = position
        return True
