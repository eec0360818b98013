"""The deadlines of one partition's sessions, soonest first, without scanning.

Events only push deadlines back, so an entry may be early but never late: when it comes up, the state says whether it
is really due, and if not it is armed again. A touched session costs nothing here, an opened one O(log n).
"""

from heapq import heapify, heappop, heappush


class Deadlines:
    """A lazy heap of (deadline, key). Memory: about 250 bytes a session."""

    __slots__ = ("_armed", "_heap")

    def __init__(self) -> None:
        self._armed: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._armed)

    @property
    def next_ms(self) -> int | None:
        """The earliest time at which something may be due, or None. It may be early, never late."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def load(self, deadlines: dict[bytes, int]) -> None:
        """Start over with these, as after a recovery. O(n)."""
        self._armed = deadlines
        self._heap = [(deadline, key) for key, deadline in deadlines.items()]
        heapify(self._heap)

    def arm(self, key: bytes, deadline_ms: int) -> None:
        """Make sure that the key comes up once its deadline has passed."""
        armed = self._armed.get(key)
        if armed is None or armed > deadline_ms:
            self._armed[key] = deadline_ms
            heappush(self._heap, (deadline_ms, key))

    def take_passed(self, now_ms: int) -> list[bytes]:
        """Remove and return the keys whose armed deadline lies before now; the caller arms those that live on."""
        passed = []
        while self._heap and self._heap[0][0] < now_ms:
            deadline, key = heappop(self._heap)
            if self._armed.get(key) == deadline:
                del self._armed[key]
                passed.append(key)
        return passed

    def _drop_stale(self) -> None:
        while self._heap and self._armed.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
