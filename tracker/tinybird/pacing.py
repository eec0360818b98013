"""Keeping one datasource's requests below its limits, so that Tinybird never has to say 429.

Two things limit us: what we were told beforehand (requests and bytes a second, settings) and what the answers' headers
say is left. The first keeps a steady flow; the second knows of other senders with the same limit.
"""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Final

from aiolimiter import AsyncLimiter

from tracker.tinybird.answers import RateLimit

#: A burst may take this part of a second's worth. Half leaves a server that counts alike the other half for requests
#: that were sent evenly but arrive together.
BURST_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Tinybird's limits for one datasource; the defaults are those to plan for."""

    requests_per_second: int = 100
    bytes_per_second: int = 20_000_000
    request_max_bytes: int = 10_000_000


class Allowance:
    """What the server's headers leave us. Pure: ``now_seconds`` is an argument."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._resets_at_seconds = 0.0

    def tell(self, limit: RateLimit, requests_under_way: int, now_seconds: float) -> None:
        """Note an answer's headers. The requests under way may not be counted in them yet."""
        self._left = max(0, limit.remaining - requests_under_way)
        self._resets_at_seconds = now_seconds + limit.reset_seconds

    def wait_seconds(self, now_seconds: float) -> float:
        """Return how long the next request has to wait; 0 if it may go."""
        if self._left is None or self._left > 0:
            return 0.0
        return max(0.0, self._resets_at_seconds - now_seconds)

    def take(self, now_seconds: float) -> None:
        """Count a request that goes now."""
        if now_seconds >= self._resets_at_seconds:
            self._left = None
        elif self._left is not None:
            self._left = max(0, self._left - 1)


class Pacer:
    """Lets requests of one datasource pass when they may be sent."""

    def __init__(self, limits: ApiLimits) -> None:
        self._requests = _limiter(limits.requests_per_second, 1)
        self._bytes = _limiter(limits.bytes_per_second, limits.request_max_bytes)
        self._allowance = Allowance()
        self._under_way = 0

    async def enter(self, size_bytes: int) -> float:
        """Wait until a request of this size may be sent; return the seconds that took. ``leave`` must follow."""
        began_seconds = monotonic()
        await self._bytes.acquire(min(size_bytes, self._bytes.max_rate))
        await self._requests.acquire()
        while (wait_seconds := self._allowance.wait_seconds(monotonic())) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(wait_seconds)
        now_seconds = monotonic()
        self._allowance.take(now_seconds)
        self._under_way += 1
        return now_seconds - began_seconds

    def leave(self) -> None:
        """Note that a request has ended, with any outcome."""
        self._under_way -= 1

    def heed(self, limit: RateLimit) -> None:
        """Obey an answer's headers."""
        self._allowance.tell(limit, self._under_way - 1, monotonic())


def _limiter(per_second: int, at_least: int) -> AsyncLimiter:
    burst = max(per_second * BURST_SECONDS, at_least)
    return AsyncLimiter(burst, burst / per_second)
