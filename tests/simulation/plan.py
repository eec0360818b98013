"""What a seed decides before anything runs: sizes, rules, and how rough the weather is."""

from dataclasses import dataclass
from random import Random

from tracker.sessions.rules import Rules

SECOND_MS = 1_000
LONG_RETENTION_MS = 600 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Plan:
    """The shape of one run. Small limits everywhere, so that every edge is met often."""

    partitions: int
    workers: int
    sinks: int
    records: int
    keys: int
    duration_seconds: float
    rules: Rules
    chunk_max_records: int
    cache_max_sessions: int
    changelog_batch_bytes: int
    tick_interval_ms: int
    group_commit_interval_ms: int
    compaction_lag_ms: int
    delete_retention_ms: int
    sink_max_rows: int
    sink_max_bytes: int
    sink_window_ms: int
    strike_probability: float
    lost_ack_probability: float
    #: How many records a wrong partitioner puts where they don't belong.
    misplaced_probability: float
    #: Broker and worker clocks are off by up to this; the broker's may also step back.
    clock_skew_ms: int

    @property
    def stubs_outlast_the_run(self) -> bool:
        """Whether a key that was used is known to be for as long as the run sends."""
        return self.rules.closed_stub_retention_ms >= LONG_RETENTION_MS


def plan_of(rng: Random) -> Plan:
    """Draw a plan."""
    timeout_ms = rng.choice((3, 8, 20)) * SECOND_MS
    compaction_lag_ms = rng.choice((140, 200)) * SECOND_MS
    return Plan(
        partitions=rng.choice((1, 1, 2, 3)),
        workers=rng.choice((1, 2, 2, 3)),
        sinks=rng.choice((1, 1, 2)),
        records=rng.randint(50, 110),
        keys=rng.choice((2, 5, 12, 30)),
        duration_seconds=rng.choice((15.0, 30.0, 30.0, 60.0, 200.0)),
        rules=Rules(
            timeout_ms=timeout_ms,
            max_length_ms=rng.choice((2, 6)) * timeout_ms,
            closed_stub_retention_ms=rng.choice((6 * SECOND_MS, 60 * SECOND_MS, LONG_RETENTION_MS)),
            forgotten_retention_ms=compaction_lag_ms,
            duplicate_window_ms=rng.choice((3, 20, 600)) * SECOND_MS,
            passive_grace_ms=rng.choice((0, 20, 600)) * SECOND_MS,
            renewal_context=rng.choice(("all", "identity", "none")),
            campaign_change=rng.choice(("keep", "split")),
            page_events=rng.choice((1, 2, 64)),
            max_events=rng.choice((4, 15, 100_000)),
            max_context_bytes=rng.choice((5, 8_192)),
            usage_interval_ms=timeout_ms,
        ),
        chunk_max_records=rng.choice((1, 3, 10, 40)),
        cache_max_sessions=rng.choice((0, 2, 1_000)),
        changelog_batch_bytes=rng.choice((150, 400, 1_500, 100_000)),
        tick_interval_ms=1_000,
        group_commit_interval_ms=rng.choice((700, 5_000)),
        compaction_lag_ms=compaction_lag_ms,
        delete_retention_ms=rng.choice((20, 60)) * SECOND_MS,
        sink_max_rows=rng.choice((1, 7, 50)),
        sink_max_bytes=rng.choice((1_500, 100_000)),
        sink_window_ms=rng.choice((50, 1_000)),
        strike_probability=rng.choice((0.0, 0.003, 0.01, 0.01, 0.02, 0.02, 0.04)),
        lost_ack_probability=rng.choice((0.0, 0.005, 0.02)),
        misplaced_probability=rng.choice((0.0, 0.05, 0.3)),
        clock_skew_ms=rng.choice((0, 0, 500, 4_000)),
    )
