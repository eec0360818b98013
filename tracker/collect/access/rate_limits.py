"""Rate limits for many senders in bounded memory. Pure: ``now`` is given.

A token bucket is one number, the time at which it will be full again (the generic cell rate algorithm): a bucket that
is full needs no entry at all, so what is forgotten first is what matters least.
"""

from typing import Final

#: Senders that are remembered at once. Beyond it the older half is forgotten, which gives those a full bucket.
MAX_SENDERS: Final = 100_000


class RateLimits:
    """``rate_per_second`` tokens come in every second, up to ``burst``; each sender has a bucket of its own."""

    def __init__(self, rate_per_second: float, burst: float, max_senders: int = MAX_SENDERS) -> None:
        self._rate_per_second = rate_per_second
        self._burst = burst
        self._half = max(1, max_senders // 2)
        self._full_at: dict[str, float] = {}
        self._older: dict[str, float] = {}

    def take(self, sender: str, tokens: float, now_seconds: float, rate_per_second: float | None = None) -> float:
        """Take tokens if they are there.

        Args:
            sender: whose bucket it is.
            tokens: how many; more than a bucket holds counts as all of it.
            now_seconds: any clock that never goes back.
            rate_per_second: this sender's own rate, with the same number of seconds' worth of burst.

        Returns:
            0 if they were taken, else after how many seconds they would be.
        """
        full_at = self._full_at.get(sender)
        if full_at is None:
            full_at = self._older.get(sender, 0.0)
        rate = rate_per_second or self._rate_per_second
        depth_seconds = self._burst / self._rate_per_second
        full_at = max(full_at, now_seconds) + min(tokens / rate, depth_seconds)
        wait_seconds = full_at - now_seconds - depth_seconds
        # A sum of many refills must not keep anyone back for a rounding error.
        if wait_seconds > 1e-9:  # noqa: PLR2004
            return wait_seconds
        if len(self._full_at) >= self._half and sender not in self._full_at:
            self._older, self._full_at = self._full_at, {}
        self._full_at[sender] = full_at
        return 0.0
