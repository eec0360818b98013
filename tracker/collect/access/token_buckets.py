"""Token buckets for many senders in bounded memory. Pure: ``now`` is given.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm). A full bucket needs
no entry at all, so the senders that are forgotten are those that have been quiet for longest.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

#: Senders that are remembered at once. When there are more, the older half is forgotten: those get full buckets.
MAX_SENDERS: Final = 100_000

_Entry = TypeVar("_Entry")


class Rate:
    """Tokens that come in every second, and for how many seconds they add up while they are not used."""

    __slots__ = ("burst_seconds", "seconds_per_token")

    def __init__(self, per_second: float, burst_seconds: float) -> None:
        self.seconds_per_token = 1 / per_second
        self.burst_seconds = burst_seconds

    def charged(self, full_at: float, tokens: float, now: float) -> float:
        """Return when a bucket will be full again after tokens were taken, also if it does not have that many.

        They were there if that is not further away than ``burst_seconds``. More tokens than a bucket holds count as all
        of it. About 0.1 us: min() and max() would double that, and each request pays it four times.
        """
        cost_seconds = tokens * self.seconds_per_token
        if cost_seconds > self.burst_seconds:  # noqa: PLR1730
            cost_seconds = self.burst_seconds
        return (full_at if full_at > now else now) + cost_seconds  # noqa: FURB136


class RecentSenders(Generic[_Entry]):
    """The buckets of the senders that were seen last."""

    def __init__(self, make: Callable[[], _Entry], max_senders: int = MAX_SENDERS) -> None:
        self._make = make
        self._half = max(1, max_senders // 2)
        self._recent: dict[str, _Entry] = {}
        self._older: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def known(self, name: str) -> _Entry | None:
        """Return the entry of a sender, if there is one."""
        return self._recent.get(name) or self._older.get(name)

    def entry(self, name: str) -> _Entry:
        """Return the entry of a sender, a new one if it is not known."""
        entry = self._recent.get(name)
        if entry is None:
            entry = self._older.pop(name, None)
            if entry is None:
                entry = self._make()
            if len(self._recent) >= self._half:
                self._older, self._recent = self._recent, {}
            self._recent[name] = entry
        return entry
