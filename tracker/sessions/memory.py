"""Which events a session has had within the duplicate window: their ids, with the contents that came under each.

The latest lie in the state itself (``recent``), which is written with each chunk that touches the session. Once they
fill a page they go to a separate row, which is written once and read only when a later event of the session comes.
So the cost of an event does not grow with its session: 18 bytes in the state, and once more in a page.

Each entry carries its time, so the window is exact. A page belongs to a generation; when the window has passed since
the current one began, the pages of the generation before it are removed.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Final, Literal

from xxhash import xxh3_64_digest

from tracker.sessions.keys import is_page, page_key, row_of_page
from tracker.sessions.outputs import ChangedPage
from tracker.sessions.rules import SECOND_MS
from tracker.sessions.state import Pages, SessionState
from tracker.sessions.working_table import At

#: An entry is the hash of the event id, then the hash of the content, then when it came, in seconds of stream time.
ID_BYTES: Final = 8
_CONTENT_BYTES: Final = 6
_TIME_BYTES: Final = 4
_REST_BYTES: Final = _CONTENT_BYTES + _TIME_BYTES
ENTRY_BYTES: Final = ID_BYTES + _REST_BYTES
#: Older events that are kept in memory for all sessions of a partition, about 150 bytes each.
MAX_OLDER_EVENTS: Final = 200_000

#: Layout 2 knows no more of an event than its id. Every event with that id repeats it, whenever it comes.
_ANY_REST: Final = bytes(_REST_BYTES)
LAYOUT_2_EVENTS: Final = 128

#: ``reused``: the id was there before, with another content, so it is another event.
Verdict = Literal["new", "duplicate", "reused"]

#: Reads pages by their keys, in order; None for one that is not there.
ReadPages = Callable[[Sequence[bytes]], Sequence[bytes | None]]

#: Event ids with the events that came under each: their contents and times, one entry after the other.
_Older = dict[bytes, bytes]


def identity_of(event_id: str, details: bytes) -> bytes:
    """Return by what an event is known: its id, and its content as ``details_of`` gives it. About 0.3 us.

    The content has no workspace, which may also be named in the envelope. The times of an event and how it came are in
    the envelope, too.
    """
    return xxh3_64_digest(event_id.encode()) + xxh3_64_digest(details)[:_CONTENT_BYTES]


class EventMemory:
    """The event ids of one partition's sessions: judges, remembers, and turns pages.

    ``read_pages`` reads checkpointed pages. Pages that a chunk writes or removes go into the mapping that
    ``begin_chunk`` was given, by their keys.
    """

    __slots__ = (
        "_at", "_changed", "_max_older_events", "_older", "_older_events", "_page_bytes", "_read_pages", "_window_ms",
    )  # fmt: skip

    def __init__(
        self,
        at: At,
        read_pages: ReadPages,
        *,
        window_ms: int,
        page_events: int,
        max_older_events: int = MAX_OLDER_EVENTS,
    ) -> None:
        #: Pages are numbered from the offset of their session's first one on.
        self._at = at
        self._read_pages = read_pages
        self._window_ms = window_ms
        self._page_bytes = page_events * ENTRY_BYTES
        self._max_older_events = max_older_events
        self._changed: MutableMapping[bytes, ChangedPage] = {}
        #: The pages of the sessions that asked last.
        self._older: OrderedDict[bytes, _Older] = OrderedDict()
        self._older_events = 0

    def begin_chunk(self, changed: MutableMapping[bytes, ChangedPage]) -> None:
        """Begin a chunk, whose pages go into ``changed``."""
        self._changed = changed

    def judge(self, row: bytes, state: SessionState, identity: bytes, now_ms: int) -> Verdict:
        """Say whether an event is new. About 0.3 us while the session has no pages."""
        event_id = identity[:ID_BYTES]
        if state.pages is None and event_id not in state.recent:
            return "new"
        verdict: Verdict = "new"
        content = identity[ID_BYTES:]
        for rest in self._seen(row, state, event_id):
            if rest == _ANY_REST:
                return "duplicate"
            if now_ms // SECOND_MS - int.from_bytes(rest[_CONTENT_BYTES:], "big") <= self._window_ms // SECOND_MS:
                if rest.startswith(content):
                    return "duplicate"
                verdict = "reused"
        return verdict

    def remember(self, row: bytes, state: SessionState, identity: bytes, now_ms: int) -> None:
        """Remember an event."""
        state.remembered_ms = now_ms
        state.recent += identity + (now_ms // SECOND_MS).to_bytes(_TIME_BYTES, "big")
        if len(state.recent) < self._page_bytes:
            return
        at = self._at.offset
        pages = state.pages or Pages(began_ms=now_ms, first=at, current=at, end=at)
        if now_ms > pages.began_ms + self._window_ms + SECOND_MS:
            self._remove(row, range(pages.first, pages.current))
            pages = Pages(began_ms=now_ms, first=pages.current, current=pages.end, end=pages.end)
        self._changed[page_key(row, pages.end)] = ChangedPage(at, state.recent)
        if (older := self._older.get(row)) is not None:
            self._older_events += _add(older, state.recent)
        state.pages = Pages(began_ms=pages.began_ms, first=pages.first, current=pages.current, end=pages.end + 1)
        state.recent = b""

    def drop(self, row: bytes, state: SessionState) -> None:
        """Let a session forget all its events."""
        if state.pages is not None:
            self._remove(row, range(state.pages.first, state.pages.end))
        state.recent, state.pages, state.remembered_ms = b"", None, 0

    def forget(self, keys: Iterable[bytes]) -> None:
        """Read the pages of these rows again when they are needed: another worker has written to the table."""
        for key in keys:
            older = self._older.pop(row_of_page(key) if is_page(key) else key, None)
            if older is not None:
                self._older_events -= sum(len(rests) // _REST_BYTES for rests in older.values())

    def _seen(self, row: bytes, state: SessionState, event_id: bytes) -> Iterator[bytes]:
        """Yield the content and time of every event that came under this id."""
        recent = state.recent
        at = recent.find(event_id)
        while at >= 0:
            if at % ENTRY_BYTES == 0:
                yield recent[at + ID_BYTES : at + ENTRY_BYTES]
            at = recent.find(event_id, at + 1)
        if state.pages is not None:
            rests = self._older_of(row, state.pages).get(event_id, b"")
            for at in range(0, len(rests), _REST_BYTES):
                yield rests[at : at + _REST_BYTES]

    def _remove(self, row: bytes, numbers: range) -> None:
        for number in numbers:
            self._changed[page_key(row, number)] = ChangedPage(self._at.offset, None)
        self.forget((row,))

    def _older_of(self, row: bytes, pages: Pages) -> _Older:
        older = self._older.get(row)
        if older is not None:
            self._older.move_to_end(row)
            return older
        older = {}
        for content in self._pages(row, pages):
            self._older_events += _add(older, content)
        self._older[row] = older
        while self._older_events > self._max_older_events and len(self._older) > 1:
            self.forget((next(iter(self._older)),))
        return older

    def _pages(self, row: bytes, pages: Pages) -> Iterator[bytes]:
        """Yield the contents of a session's pages, those of the chunk at hand as it left them."""
        keys = [page_key(row, number) for number in range(pages.first, pages.end)]
        stored = [key for key in keys if key not in self._changed]
        found = dict(zip(stored, self._read_pages(stored), strict=True)) if stored else {}
        for key in keys:
            content = self._changed[key].content if key in self._changed else found[key]
            if content is not None:
                yield content


def _add(older: _Older, entries: bytes) -> int:
    found: dict[bytes, list[bytes]] = {}
    for at in range(0, len(entries), ENTRY_BYTES):
        found.setdefault(entries[at : at + ID_BYTES], []).append(entries[at + ID_BYTES : at + ENTRY_BYTES])
    for event_id, rests in found.items():
        older[event_id] = older.get(event_id, b"") + b"".join(rests)
    return len(entries) // ENTRY_BYTES


def remember_as_layout_2(state: SessionState, identity: bytes) -> None:
    """Remember an event's id as a worker of 0.1.0 does: among the last 128, and nothing of its content."""
    state.recent = (state.recent + identity[:ID_BYTES] + _ANY_REST)[-LAYOUT_2_EVENTS * ENTRY_BYTES :]


def to_layout_2(recent: bytes) -> bytes:
    """Return the event ids alone, as layout 2 has them."""
    return b"".join(recent[at : at + ID_BYTES] for at in range(0, len(recent), ENTRY_BYTES))


def from_layout_2(ids: bytes) -> bytes:
    """Return entries of event ids whose contents and times are unknown."""
    return b"".join(ids[at : at + ID_BYTES] + _ANY_REST for at in range(0, len(ids), ID_BYTES))
