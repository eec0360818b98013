"""The numbers that the session rules turn on. Times are milliseconds of stream time."""

from dataclasses import dataclass

from topics.catalog import MIN_COMPACTION_LAG_MS


@dataclass(frozen=True, slots=True)
class Rules:
    """Deployment-wide session rules; a session may carry its own inactivity gap.

    The caps close a session that no person makes, so that no row of a query or a join grows without end: one event a
    second for the whole maximum length is 86,400 events, and ordinary context is some hundred bytes.
    """

    timeout_ms: int = 30 * 60_000
    max_length_ms: int = 24 * 3_600_000
    closed_stub_retention_ms: int = 7 * 24 * 3_600_000
    #: A forgotten key leaves its offset behind for as long as stale writes may still come, so that none brings it back.
    forgotten_retention_ms: int = MIN_COMPACTION_LAG_MS
    duplicate_window_events: int = 128
    max_events: int = 100_000
    max_context_bytes: int = 8_192
