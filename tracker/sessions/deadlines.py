"""The deadlines of one partition's sessions, soonest first, without scanning.

An entry may be early but never late: when it comes up, the state says whether it is really due, and if not it is armed
again. So an entry is never moved or taken out before its time. A touched session costs nothing here, and a key is armed
again only when its deadline has come nearer. Then it has two entries for a while, which become one as soon as both are
armed for the same deadline.

Distant deadlines lie unsorted in buckets of a minute, as bytes; only the entries of the buckets that have begun are in
a heap. So opening a session costs O(1), and a deadline that comes up O(log n), where n counts only the near ones.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import Final

#: Width of a bucket. Wide enough that a week of closed stubs is some thousand buckets.
BUCKET_MS: Final = 60_000
#: What an entry in a bucket begins with: milliseconds after the bucket's start, and the length of the key that follows.
_HEAD: Final = Struct(">HH")
#: A bucket drops repeated keys when it has grown to so many times the size that it had without them,
COMPACT_FACTOR: Final = 4
#: and to at least this size.
COMPACT_BYTES: Final = 16_384


class _Bucket:
    """The entries of one minute, one after the other."""

    __slots__ = ("compact_bytes", "entries")

    def __init__(self, compact_bytes: int) -> None:
        self.entries = bytearray()
        #: Beyond this size, repeated keys are looked for.
        self.compact_bytes = compact_bytes

    def soonest(self) -> dict[bytes, int]:
        """Return each key once, with its soonest deadline in milliseconds after the start. About 0.5 us an entry."""
        found: dict[bytes, int] = {}
        for key, offset_ms in _entries(self.entries):
            if offset_ms < found.get(key, BUCKET_MS):
                found[key] = offset_ms
        return found

    def compact(self) -> None:
        """Drop repeated keys. About 0.7 us an entry, each time that the bucket has grown fourfold."""
        self.entries = bytearray().join(_entry(key, offset_ms) for key, offset_ms in self.soonest().items())
        self.compact_bytes = max(self.compact_bytes, COMPACT_FACTOR * len(self.entries))


class Deadlines:
    """A timer wheel of (deadline, key). Memory: a distant entry takes its key and 4 bytes, and a tenth for growth."""

    __slots__ = ("_begun_ms", "_buckets", "_compact_bytes", "_heap", "_starts")

    def __init__(self, compact_bytes: int = COMPACT_BYTES) -> None:
        self._compact_bytes = compact_bytes
        #: Everything that is due before this is in the heap, all else in its bucket.
        self._begun_ms = 0
        self._heap: list[tuple[int, bytes]] = []
        self._buckets: dict[int, _Bucket] = {}
        self._starts: list[int] = []

    @property
    def next_ms(self) -> int | None:
        """The earliest time at which something may be due, or None. It may be early, never late."""
        while not self._heap:
            if not self._starts:
                return None
            self._begin_bucket()
        return self._heap[0][0]

    @property
    def distant_bytes(self) -> int:
        """The size of all distant entries."""
        return sum(len(bucket.entries) for bucket in self._buckets.values())

    def load(self, deadlines: Iterable[tuple[bytes, int]]) -> None:
        """Start over with these, each key once, as after a recovery. About 0.3 us each."""
        self._begun_ms, self._heap, self._buckets, self._starts = 0, [], {}, []
        self.add(deadlines)

    def add(self, deadlines: Iterable[tuple[bytes, int]]) -> None:
        """Arm keys that are not armed yet, each once: their buckets are not looked through for repeated keys."""
        for key, deadline_ms in deadlines:
            bucket = self._put(key, deadline_ms)
            if bucket is not None and len(bucket.entries) > bucket.compact_bytes:
                bucket.compact_bytes = COMPACT_FACTOR * len(bucket.entries)

    def arm(self, key: bytes, deadline_ms: int) -> None:
        """Make sure that the key comes up once its deadline has passed. About 0.4 us."""
        bucket = self._put(key, deadline_ms)
        if bucket is not None and len(bucket.entries) > bucket.compact_bytes:
            bucket.compact()

    def rearm(self, key: bytes, before_ms: int, deadline_ms: int) -> None:
        """Arm a key whose deadline was at ``before_ms`` until now: any but a sooner one has an entry that is early."""
        if deadline_ms < before_ms:
            self.arm(key, deadline_ms)

    def take_passed(self, now_ms: int) -> list[bytes]:
        """Remove and return the keys whose entries lie before now; the caller arms those that live on."""
        while self._starts and self._starts[0] < now_ms:
            self._begin_bucket()
        passed: dict[bytes, None] = {}
        while self._heap and self._heap[0][0] < now_ms:
            passed[heappop(self._heap)[1]] = None
        return list(passed)

    def _put(self, key: bytes, deadline_ms: int) -> _Bucket | None:
        """Put an entry into its bucket, and return that; None: the bucket has begun, so the entry is in the heap."""
        if deadline_ms < self._begun_ms:
            heappush(self._heap, (deadline_ms, key))
            return None
        offset_ms = deadline_ms % BUCKET_MS
        start = deadline_ms - offset_ms
        bucket = self._buckets.get(start)
        if bucket is None:
            bucket = self._buckets[start] = _Bucket(self._compact_bytes)
            heappush(self._starts, start)
        bucket.entries += _entry(key, offset_ms)
        return bucket

    def _begin_bucket(self) -> None:
        """Move the entries of the soonest bucket into the heap."""
        start = heappop(self._starts)
        self._begun_ms = start + BUCKET_MS
        bucket = self._buckets.pop(start)
        self._heap += [(start + offset_ms, key) for key, offset_ms in bucket.soonest().items()]
        heapify(self._heap)


def _entry(key: bytes, offset_ms: int) -> bytes:
    return _HEAD.pack(offset_ms, len(key)) + key


def _entries(content: bytearray) -> Iterator[tuple[bytes, int]]:
    at, unpack, head_bytes = 0, _HEAD.unpack_from, _HEAD.size
    while at < len(content):
        offset_ms, key_bytes = unpack(content, at)
        at += head_bytes
        yield bytes(content[at : at + key_bytes]), offset_ms
        at += key_bytes
