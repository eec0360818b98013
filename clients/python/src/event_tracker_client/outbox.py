"""The queue of one connection: what is sent next, and what becomes of it. Pure: ``now`` is an argument, nothing waits.

The order of a session's items is kept, whatever is retried: at most one request is under way, and an item is behind
everything of its session that came before it. Requests about a session (opened, ended) go ahead of *other* sessions'
events, so that those still fill whole batches.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from event_tracker_client.answers import Answer, is_oversized, judge, leaves_open
from event_tracker_client.fields import MAX_BATCH_EVENTS, MAX_RECORD_BYTES
from event_tracker_client.items import Code, Item, Undelivered

#: What an item of a batch costs beyond its body: a comma.
_SEPARATOR_BYTES: Final = 1
_FIRST_RETRY_MS: Final = 250
#: Of the wait between two tries; then ``max_retry_wait_ms`` is reached.
_MAX_DOUBLINGS: Final = 20
#: Repeats are recognised for 24 hours; a later one would count twice.
MAX_RETRY_BUDGET_MS: Final = 23 * 3_600_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one queue holds, and how long it tries.

    Attributes:
        max_queue_items: Items that wait. What comes on top of them is dropped and reported.
        max_queue_bytes: The same in bytes of JSON.
        max_batch_events: Events in one request; the collector takes 500.
        max_batch_bytes: Bytes of JSON in one request, before compression.
        flush_interval_ms: How long an item waits for others at most.
        retry_budget_ms: How long an item is tried, counted from when it was queued.
        max_retry_wait_ms: The longest wait between two tries, unless the collector asks for a longer one.
    """

    max_queue_items: int = 10_000
    max_queue_bytes: int = 32 * 1024 * 1024
    max_batch_events: int = 100
    max_batch_bytes: int = 192 * 1024
    flush_interval_ms: int = 500
    retry_budget_ms: int = 600_000
    max_retry_wait_ms: int = 30_000

    def __post_init__(self) -> None:
        """Check that they make sense.

        Raises:
            ValueError: one of them is out of its range.
        """
        ranges = (
            ("max_queue_items", 1, 10_000_000),
            ("max_queue_bytes", MAX_RECORD_BYTES, 1 << 40),
            ("max_batch_events", 1, MAX_BATCH_EVENTS),
            ("max_batch_bytes", MAX_RECORD_BYTES, 1 << 30),
            ("flush_interval_ms", 0, 3_600_000),
            ("retry_budget_ms", 0, MAX_RETRY_BUDGET_MS),
            ("max_retry_wait_ms", 1, 3_600_000),
        )
        for name, low, high in ranges:
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: must be from {low} to {high}")


class _Waiting(NamedTuple):
    """An item with its number: 1 for the first that was ever queued."""

    number: int
    item: Item


@dataclass(frozen=True, slots=True)
class Parcel:
    """The items of one request: events, or one item about a session."""

    items: tuple[Item, ...]
    #: Where they begin in the queue.
    place: int

    @property
    def is_batch(self) -> bool:
        """Whether these are events."""
        return self.items[0].kind == "event"


class Outbox:
    """One queue. ``take`` a parcel, send it, ``settle`` it with the answer."""

    def __init__(self, limits: Limits, jitter: Callable[[], float]) -> None:
        """Use ``jitter``, from 0 to 1, to spread the retries of many clients."""
        self._limits = limits
        self._jitter = jitter
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        #: The number of the item that was queued last, and of the last one that must not wait for others.
        self._last_number = 0
        self._flush_up_to = 0
        self._under_way: Parcel | None = None
        #: Items that may count already: a try had no answer, or one that leaves it open.
        self._maybe_counted: set[Item] = set()
        self._is_closed = False
        self._failures = 0
        #: No try before this; ``_asked_until`` is what the collector has asked for.
        self._backoff_until_ms = 0
        self._asked_until_ms = 0
        #: After a refusal as a whole: so many events at once, up to the item with this number.
        self._careful_size = 0
        self._careful_until = 0
        self.delivered = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_failing(self) -> bool:
        """Whether the last parcel has to be sent again."""
        return self._failures > 0

    @property
    def done_up_to(self) -> int:
        """The number up to which every item has left the queue, delivered or given up."""
        return self._queue[0].number - 1 if self._queue else self._last_number

    def put(self, item: Item) -> Undelivered | None:
        """Queue an item; return why not, if it can't be."""
        size = len(item.body)
        if self._is_closed:
            return item.undelivered("closed", "the client is closed")
        if size > MAX_RECORD_BYTES:
            return item.undelivered("oversized", f"{size} bytes; the limit is {MAX_RECORD_BYTES}")
        if len(self._queue) >= self._limits.max_queue_items or self._bytes + size > self._limits.max_queue_bytes:
            self.flush()
            return item.undelivered("queue_full", f"{len(self._queue)} items with {self._bytes} bytes wait")
        self._last_number += 1
        self._queue.append(_Waiting(self._last_number, item))
        self._bytes += size
        return None

    def flush(self) -> int:
        """Have all that waits now sent without waiting for more; it is done when ``done_up_to`` has this number."""
        self._flush_up_to = self._last_number
        return self._flush_up_to

    def hurry(self) -> None:
        """Try at once what failed, unless the collector has asked for a pause: the client is being closed."""
        self._backoff_until_ms = 0

    def due_at_ms(self) -> int | None:
        """Return when there will be something to send: None if nothing waits, or a parcel is under way."""
        if not self._queue or self._under_way is not None:
            return None
        is_full = len(self._queue) >= self._limits.max_batch_events or self._bytes >= self._limits.max_batch_bytes
        earliest = max(self._backoff_until_ms, self._asked_until_ms)
        head = self._queue[0]
        if is_full or head.number <= self._flush_up_to:
            return earliest
        return max(earliest, head.item.queued_at_ms + self._limits.flush_interval_ms)

    def is_due(self, now_ms: int) -> bool:
        """Return whether there is something to send now."""
        due_at_ms = self.due_at_ms()
        return due_at_ms is not None and due_at_ms <= now_ms

    def take(self, now_ms: int) -> Parcel | None:
        """Return what to send now, if there is anything."""
        if not self.is_due(now_ms):
            return None
        self._under_way = self._next_parcel()
        return self._under_way

    def settle(self, parcel: Parcel, answer: Answer, now_ms: int) -> list[Undelivered]:
        """Act on the answer to a parcel; return what is given up."""
        if self._under_way is not parcel:
            return []  # given up meanwhile
        self._under_way = None
        verdict = judge(answer, len(parcel.items), is_batch=parcel.is_batch)
        if verdict.outcome == "retry":
            return self._retry(parcel, answer, now_ms)
        self._failures = 0
        self._backoff_until_ms = self._asked_until_ms = 0
        if verdict.outcome == "split":
            self._careful_size = len(parcel.items) // 2
            self._careful_until = self._queue[len(parcel.items) - 1].number
            return []
        code: Code = "oversized" if is_oversized(answer) else "rejected"
        undelivered = [
            item.undelivered(code, *reasons, may_have_arrived=item in self._maybe_counted)
            for item, reasons in zip(parcel.items, verdict.reasons, strict=True)
            if reasons
        ]
        self._remove(parcel)
        self._grow_careful_size()
        self.delivered += len(parcel.items) - len(undelivered)
        return undelivered

    def close(self) -> list[Undelivered]:
        """Give up everything that waits and take nothing more."""
        self._is_closed = True
        if self._under_way is not None:
            self._maybe_counted.update(self._under_way.items)
            self._under_way = None
        return [self._give_up("closed", "the client was closed before") for _ in range(len(self._queue))]

    def _next_parcel(self) -> Parcel:
        limit = min(self._limits.max_batch_events, self._careful_size or MAX_BATCH_EVENTS)
        events: list[Item] = []
        sessions: set[str] = set()
        size = 0
        for place, (_, item) in enumerate(self._queue):
            if item.kind != "event":
                if item.session_id in sessions:
                    break
                return Parcel((item,), place)
            size += len(item.body) + _SEPARATOR_BYTES
            if events and (len(events) == limit or size > self._limits.max_batch_bytes):
                break
            events.append(item)
            sessions.add(item.session_id)
        return Parcel(tuple(events), 0)

    def _remove(self, parcel: Parcel) -> None:
        for item in parcel.items:
            self._bytes -= len(item.body)
            del self._queue[parcel.place]
        if self._maybe_counted:
            self._maybe_counted.difference_update(parcel.items)

    def _retry(self, parcel: Parcel, answer: Answer, now_ms: int) -> list[Undelivered]:
        if leaves_open(answer):
            self._maybe_counted.update(parcel.items)
        wait_ms = min(self._limits.max_retry_wait_ms, _FIRST_RETRY_MS * 2 ** min(self._failures, _MAX_DOUBLINGS))
        self._failures += 1
        self._backoff_until_ms = now_ms + int(wait_ms * (0.5 + 0.5 * self._jitter()))
        self._asked_until_ms = now_ms + answer.retry_after_ms
        given_up = []
        while self._queue and now_ms - self._queue[0].item.queued_at_ms >= self._limits.retry_budget_ms:
            given_up.append(self._give_up("expired", answer.reason))
        return given_up

    def _give_up(self, code: Code, reason: str) -> Undelivered:
        """Take the first item out of the queue."""
        item = self._queue.popleft().item
        self._bytes -= len(item.body)
        maybe_counted = item in self._maybe_counted
        self._maybe_counted.discard(item)
        return item.undelivered(code, reason, may_have_arrived=maybe_counted)

    def _grow_careful_size(self) -> None:
        if self.done_up_to >= self._careful_until:
            self._careful_size = 0
        else:
            self._careful_size *= 2
