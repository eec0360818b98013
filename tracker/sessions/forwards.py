"""Records in the wrong partition: an upstream partitioner that is not Kafka's own put them there.

They are forwarded, not folded. A forward that is sent again, after a crash or by a zombie, is in the log twice.
Workers forward in the order of the partition's offsets, beginning right after the last forward that was surely acked.
So the first copies arrive in that order, and one number per origin tells a copy from its repetition
(docs/decisions/0007).

Anyone who may write to the topic can write the header that says where a record was forwarded from. It is believed only
with a seal over place, key and value that is made with the processors' secret (docs/decisions/0039): otherwise a
made-up place with a high offset would have all real copies of that partition dropped as repetitions.
"""

from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from topics.headers import FORWARD_SEAL, FORWARDED_FROM, Headers, LogPlace, read_forwarded_from
from tracker.sessions.outputs import Forward, SourceInput

#: A record's own headers go with it up to this size; beyond it, none do. They are not ours, and a batch is limited.
MAX_CARRIED_HEADERS_BYTES: Final = 8_192

_SEAL_BYTES: Final = 16
_PERSON: Final = b"tracker forwards"
_OURS: Final = frozenset({FORWARDED_FROM, FORWARD_SEAL})


class ForwardSeal:
    """Makes and checks seals. Without a secret they protect from mistakes only, not from someone who reads this."""

    __slots__ = ("_key",)

    def __init__(self, secret: str = "") -> None:
        self._key = blake2b(secret.encode(), person=_PERSON).digest()

    def of(self, place: LogPlace, key: bytes, value: bytes | None) -> bytes:
        """Return the seal of a record that was forwarded from a place. About 2 us."""
        head = b"%b %d " % (place.encode(), len(key))
        return blake2b(
            b"".join((head, key, value or b"")), digest_size=_SEAL_BYTES, key=self._key, person=_PERSON
        ).digest()

    def place_of(self, source: SourceInput, key: bytes, *, is_needed: bool) -> LogPlace | None:
        """Return where a record stood that a processor of ours has forwarded; None if none has."""
        place = read_forwarded_from(source.headers)
        if place is None or not is_needed:
            return place
        return place if self.holds(source.headers, place, key, source.value) else None

    def holds(self, headers: Iterable[tuple[str, bytes]], place: LogPlace, key: bytes, value: bytes | None) -> bool:
        """Return whether a record carries the seal of its place."""
        sealed = dict(headers).get(FORWARD_SEAL)
        return sealed is not None and compare_digest(sealed, self.of(place, key, value))


def forward_of(source: SourceInput, key: bytes, home: int, stands_in: int, seal: ForwardSeal) -> Forward:
    """Return the record as it goes to the partition of its key."""
    carried: Headers = [(name, value) for name, value in source.headers if name not in _OURS]
    if sum(len(name) + len(value or b"") for name, value in carried) > MAX_CARRIED_HEADERS_BYTES:
        carried = []
    place = LogPlace(stands_in, source.offset)
    carried += [(FORWARDED_FROM, place.encode()), (FORWARD_SEAL, seal.of(place, key, source.value))]
    return Forward(home, key, source.value, carried, source.timestamp)


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
        """Return the last offset taken of each partition, in the order of the partitions: the same bytes every time."""
        return dict(sorted(self._last.items()))
