"""The deadlines of one partition's sessions, soonest first, without scanning.

Events only push deadlines back, so an entry may be early but never late: when it comes up, the state says whether it
is really due, and if not it is armed again. A touched session costs nothing here.

Distant deadlines lie unsorted in buckets of a minute; only the keys of the buckets that have begun are in a heap. So
opening a session costs O(1), and a deadline that comes up O(log n), where n counts only the near ones: a million
sessions need no heap of a million tuples.
"""

from heapq import heapify, heappop, heappush
from typing import Final

#: Width of a bucket. Wide enough that a week of closed stubs is some thousand buckets.
BUCKET_MS: Final = 60_000


class Deadlines:
    """A timer wheel of (deadline, key). Memory: about 170 bytes a session, the key included."""

    __slots__ = ("_armed", "_begun_ms", "_buckets", "_heap", "_starts")

    def __init__(self) -> None:
        self._armed: dict[bytes, int] = {}
        #: Everything that is due before this is in the heap, all else in its bucket.
        self._begun_ms = 0
        self._heap: list[tuple[int, bytes]] = []
        self._buckets: dict[int, list[bytes]] = {}
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._armed)

    @property
    def next_ms(self) -> int | None:
        """The earliest time at which something may be due, or None. It may be early, never late."""
        while True:
            while self._heap and self._armed.get(self._heap[0][1]) != self._heap[0][0]:
                heappop(self._heap)
            if self._heap:
                return self._heap[0][0]
            if not self._starts:
                return None
            self._begin_bucket()

    def load(self, deadlines: dict[bytes, int]) -> None:
        """Start over with these, as after a recovery. O(n)."""
        self._armed, self._begun_ms, self._heap, self._buckets, self._starts = {}, 0, [], {}, []
        for key, deadline_ms in deadlines.items():
            self.arm(key, deadline_ms)

    def arm(self, key: bytes, deadline_ms: int) -> None:
        """Make sure that the key comes up once its deadline has passed."""
        armed = self._armed.get(key)
        if armed is not None and armed <= deadline_ms:
            return
        self._armed[key] = deadline_ms
        if deadline_ms < self._begun_ms:
            heappush(self._heap, (deadline_ms, key))
            return
        start = deadline_ms - deadline_ms % BUCKET_MS
        bucket = self._buckets.get(start)
        if bucket is None:
            self._buckets[start] = [key]
            heappush(self._starts, start)
        else:
            bucket.append(key)

    def take_passed(self, now_ms: int) -> list[bytes]:
        """Remove and return the keys whose armed deadline lies before now; the caller arms those that live on."""
        while self._starts and self._starts[0] < now_ms:
            self._begin_bucket()
        passed = []
        while self._heap and self._heap[0][0] < now_ms:
            deadline_ms, key = heappop(self._heap)
            if self._armed.get(key) == deadline_ms:
                del self._armed[key]
                passed.append(key)
        return passed

    def _begin_bucket(self) -> None:
        """Move the keys of the soonest bucket into the heap; a key that was armed elsewhere since is left out."""
        start = heappop(self._starts)
        self._begun_ms = start + BUCKET_MS
        for key in self._buckets.pop(start):
            deadline_ms = self._armed.get(key)
            if deadline_ms is not None and start <= deadline_ms < self._begun_ms:
                self._heap.append((deadline_ms, key))
        heapify(self._heap)
