"""Which sessions this collector has seen lately: a session that it has not seen counts as new. Pure."""

from collections.abc import Iterable
from typing import Final

#: Sessions that are remembered at once (about 50 MB). Beyond it the older half is forgotten, and counts as new.
MAX_SESSIONS: Final = 400_000


class RecentSessions:
    """The sessions seen last, as hashes: a collision lets one new session pass for an old one."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._half = max(1, max_sessions // 2)
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def new_ones(self, key: str, session_ids: Iterable[str]) -> list[int]:
        """Return the hashes of the sessions of a key that are new, until ``add``; no id may come twice."""
        recent, older = self._recent, self._older
        new: list[int] = []
        for session_id in session_ids:
            each = hash((key, session_id))
            if each in recent:
                continue
            if each in older:
                self.add((each,))
            else:
                new.append(each)
        return new

    def add(self, hashes: Iterable[int]) -> None:
        """Remember sessions."""
        for each in hashes:
            if len(self._recent) >= self._half:
                self._older, self._recent = self._recent, set()
            self._recent.add(each)
