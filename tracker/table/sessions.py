"""The session table of one leased partition: the store, and the decoded states that are in use."""

import itertools
from collections.abc import Iterable, Mapping

from tracker.sessions.fold import StoredState
from tracker.sessions.outputs import ChangedState
from tracker.sessions.state import decode_state, offset_of
from tracker.table.store import SessionStore


class SessionTable:
    """Looks sessions up for the fold. The cache is bounded; what falls out is read from RocksDB again."""

    def __init__(self, store: SessionStore, cache_max_sessions: int) -> None:
        self.store = store
        self._cache: dict[bytes, StoredState] = {}
        self._cache_max_sessions = cache_max_sessions

    def lookup(self, key: bytes) -> StoredState | None:
        """Return the session as it was checkpointed last. Cached: 0.1 us; from RocksDB: a few us."""
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        raw = self.store.get(key)
        if raw is None:
            return None
        stored = self._cache[key] = StoredState(offset_of(raw), decode_state(raw))
        return stored

    def keep(self, changed: Mapping[bytes, ChangedState]) -> None:
        """Take over what a checkpointed chunk changed, and let the oldest entries go."""
        for key, (offset, state) in changed.items():
            if state is None:
                self._cache.pop(key, None)
            else:
                self._cache[key] = StoredState(offset, state)
        excess = len(self._cache) - self._cache_max_sessions
        if excess > 0:
            for key in list(itertools.islice(self._cache, excess)):
                del self._cache[key]

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop cached states that the store has newer versions of."""
        for key in keys:
            self._cache.pop(key, None)
