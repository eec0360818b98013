"""How large a batch should be at present: docs/decisions/0022. Pure.

While the sink is behind or throttled, requests are scarce: batches grow towards the limits. While it is calm, time
matters more: they shrink.
"""

from dataclasses import replace
from typing import Final

from tracker.sink.batches import Limits

#: Calm batches are full at this part of the byte limit, so that a burst goes out at once and in parallel.
CALM_BYTES_DIVISOR: Final = 8
#: Calm batches wait for this part of the configured window.
CALM_WINDOW_DIVISOR: Final = 3
#: While throttled, batches wait for up to this many configured windows.
THROTTLED_WINDOW_FACTOR: Final = 10


class BatchPolicy:
    """Doubles under pressure, halves while calm; one step a batch."""

    def __init__(self, configured: Limits) -> None:
        self._configured = configured
        self._most_bytes = configured.max_bytes
        self._bytes = self._least_bytes
        self._window_ms = configured.window_ms

    @property
    def limits(self) -> Limits:
        """When the next batch is full."""
        return replace(self._configured, max_bytes=self._bytes, window_ms=self._window_ms)

    @property
    def _least_bytes(self) -> int:
        return max(1, self._most_bytes // CALM_BYTES_DIVISOR)

    def note(self, *, is_behind: bool, is_throttled: bool) -> None:
        """Note how a batch fared.

        Args:
            is_behind: when it went out, another was waiting behind it, or as many as may be were under way with it.
            is_throttled: it waited for a rate limit longer than it waited to fill, or Tinybird held it up.
        """
        self._bytes *= 2 if is_behind or is_throttled else 1
        if is_throttled:
            self._window_ms = min(self._window_ms * 2, self._configured.window_ms * THROTTLED_WINDOW_FACTOR)
        elif not is_behind:
            self._bytes //= 2
            self._window_ms = max(self._window_ms // 2, self._configured.window_ms // CALM_WINDOW_DIVISOR, 1)
        self._bytes = min(max(self._bytes, self._least_bytes), self._most_bytes)

    def too_large(self, size_bytes: int) -> None:
        """Note a request that was too large: none as large is made again."""
        self._most_bytes = max(1, min(self._most_bytes, size_bytes // 2))
        self._bytes = min(self._bytes, self._most_bytes)
