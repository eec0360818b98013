"""Records that stand in the wrong partition: an upstream partitioner that is not Kafka's own put them there.

They are forwarded, not folded. A forward that is sent again, after a crash or by a zombie, stands in the log twice.
Whoever forwards does so in the order of the partition's offsets, beginning right after what had been acked for sure;
so the first copies come in that order, and one number per origin tells a copy from its repetition
(docs/decisions/0007).
"""

from typing import Final

from topics.headers import FORWARDED_FROM, Headers, LogPlace
from tracker.sessions.outputs import Forward, SourceInput

#: A record's own headers go with it up to this size; beyond it, none do. They are not ours, and a batch is limited.
MAX_CARRIED_HEADERS_BYTES: Final = 8_192


def forward_of(source: SourceInput, key: bytes, home: int, stands_in: int) -> Forward:
    """Return the record as it goes to the partition of its key."""
    carried: Headers = [(name, value) for name, value in source.headers if name != FORWARDED_FROM]
    if sum(len(name) + len(value or b"") for name, value in carried) > MAX_CARRIED_HEADERS_BYTES:
        carried = []
    place = LogPlace(stands_in, source.offset)
    return Forward(home, key, source.value, [*carried, (FORWARDED_FROM, place.encode())], source.timestamp)


class ForwardMarks:
    """The last offset taken from each partition that records were forwarded from. At most one entry a partition."""

    __slots__ = ("_last",)

    def __init__(self, last: dict[int, int]) -> None:
        self._last = dict(last)

    def take(self, place: LogPlace) -> bool:
        """Note a forwarded copy; False if it is a repetition of one that was taken."""
        if place.offset <= self._last.get(place.partition, -1):
            return False
        self._last[place.partition] = place.offset
        return True

    def snapshot(self) -> dict[int, int]:
        """Return what has to be written down, in an order that only the content decides."""
        return dict(sorted(self._last.items()))
