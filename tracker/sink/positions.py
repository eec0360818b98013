"""Each output once: outputs of one partition never go back in source position, so what does has been seen."""

from topics.headers import SourcePosition

#: Before the first output of any partition.
NOTHING_SEEN = SourcePosition(-1, -1)


class SeenPositions:
    """The duplicate filter of one output partition. It survives restarts as the committed offset's metadata."""

    def __init__(self, metadata: str = "") -> None:
        offset, _, index = metadata.partition(":")
        known = offset.isdecimal() and index.isdecimal()
        self.last = SourcePosition(int(offset), int(index)) if known else NOTHING_SEEN

    def is_new(self, position: SourcePosition) -> bool:
        """Return whether an output has not been seen yet, and remember it."""
        if position <= self.last:
            return False
        self.last = position
        return True
