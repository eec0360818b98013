"""A token bucket: so many requests a second, in bursts up to the same number. Pure: ``now`` is given."""

import math
from dataclasses import dataclass
from typing import Final

#: Requests come and go in whole numbers; a float sum of refills must not keep one back for a rounding error.
_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request is told, allowed or not. Seconds are whole, as the headers want them."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    retry_after_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers that Tinybird answers with."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_seconds),
        }
        return headers if self.allowed else {**headers, "Retry-After": str(self.retry_after_seconds)}


@dataclass(slots=True)
class TokenBucket:
    """Holds at most ``limit`` tokens and gets ``limit`` new ones a second; a request takes one."""

    limit: int
    tokens: float
    updated_seconds: float

    @classmethod
    def full(cls, limit: int, now_seconds: float) -> "TokenBucket":
        """Return a full bucket."""
        return cls(limit, float(limit), now_seconds)

    def take(self, now_seconds: float) -> Verdict:
        """Take a token if there is one. A clock that goes back gives none and takes none away."""
        elapsed_seconds = max(0.0, now_seconds - self.updated_seconds)
        self.tokens = min(float(self.limit), self.tokens + elapsed_seconds * self.limit)
        self.updated_seconds = max(self.updated_seconds, now_seconds)
        allowed = self.tokens >= 1 - _EPSILON
        if allowed:
            self.tokens = max(0.0, self.tokens - 1)
        until_full_seconds = (self.limit - self.tokens) / self.limit
        until_next_seconds = (1 - self.tokens) / self.limit
        return Verdict(
            allowed=allowed,
            limit=self.limit,
            remaining=math.floor(self.tokens + _EPSILON),
            reset_seconds=math.ceil(until_full_seconds),
            retry_after_seconds=max(1, math.ceil(until_next_seconds)),
        )
