"""What the processor counts. Names follow Prometheus's conventions; each is explained by its help text."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, get_args

from prometheus_client import Counter, Gauge, Histogram

from topics.dead_letter import RejectReason
from topics.session import CloseReason
from tracker.sessions.outputs import Counts

CHUNKS = Counter("tracker_process_chunks", "Chunks folded and checkpointed")
CHUNKS_DROPPED = Counter("tracker_process_chunks_dropped", "Chunks dropped because their lease had died")
CHUNK_RECORDS = Histogram(
    "tracker_process_chunk_records", "Records per chunk", buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000)
)
CHANGELOG_HOLES = Counter("tracker_process_changelog_holes", "Times another worker's writes were found and merged")
RECORDS = Counter("tracker_process_records", "Source records by what became of them", ["outcome"])
SESSIONS_OPENED = Counter("tracker_process_sessions_opened", "Sessions opened")
SESSIONS_CLOSED = Counter("tracker_process_sessions_closed", "Sessions closed, by cause", ["cause"])
REJECTED = Counter("tracker_process_rejected", "Records that became dead letters, by reason", ["reason"])
RETRIED = Counter("tracker_process_events_retried", "Events that say that they were sent before")
LATE = Counter("tracker_process_events_late", "Passive events that a closed session took")
EVENT_IDS_REUSED = Counter(
    "tracker_process_event_ids_reused",
    "Events whose id their session had seen with another content: numbered too",
)
DEAD_LETTER_FLOODS = Gauge(
    "tracker_process_dead_letter_flood",
    "Dead letters of a sender among a partition's last records, while they are too many",
    ["producer", "workspace"],
)
LOST_RECORDS = Counter(
    "tracker_process_lost_records", "Source records that retention deleted before they were processed"
)
STUBS_REMOVED = Counter("tracker_process_stubs_removed", "Closed sessions forgotten after their retention")
RECOVERY_SECONDS = Histogram(
    "tracker_process_recovery_seconds",
    "From a partition's assignment until it may be folded",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
STANDBY_LAG = Gauge("tracker_process_standby_lag_rows", "Rows of the changelog that standbys have not read yet")
OPEN_SESSIONS = Gauge("tracker_process_open_sessions", "Open sessions in the partitions that this worker may fold")
KNOWN_SESSIONS = Gauge("tracker_process_known_sessions", "Open sessions and closed ones whose key is remembered")
STREAM_TIME_LAG = Gauge(
    "tracker_process_stream_time_lag_seconds", "Wall clock minus stream time, of the partition where it is most"
)
LEASES = Gauge("tracker_process_leases", "Partitions that this worker may fold")
LAG_RECORDS = Gauge(
    "tracker_process_lag_records",
    "Source records that are not checkpointed, by partition of this worker",
    ["partition"],
)

_STEP = Histogram(
    "tracker_process_checkpoint_seconds",
    "Time in each step of the checkpoint",
    ["step"],
    buckets=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
STEP_SECONDS: Final = {step: _STEP.labels(step) for step in ("fold", "outputs", "changelog", "store")}
_OUTCOMES: Final = {
    outcome: RECORDS.labels(outcome)
    for outcome in (
        "events",
        "sessions",
        "expires",
        "flushes",
        "ticks",
        "duplicates",
        "passive",
        "forwarded",
        "forwarded_again",
        "already_applied",
    )
}
_REJECTED: Final = RECORDS.labels("rejected")
for _cause in get_args(CloseReason):
    SESSIONS_CLOSED.labels(_cause)
for _reason in get_args(RejectReason):  # from 0, or Prometheus would not see the first one as an increase
    REJECTED.labels(_reason)


class StepTimes:
    """How long each step of one chunk's checkpoint has taken."""

    __slots__ = ("began", "seconds")

    def __init__(self) -> None:
        self.began = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, unless it fails."""
        began = perf_counter()
        yield
        self.seconds[name] = perf_counter() - began
        STEP_SECONDS[name].observe(self.seconds[name])


def observe_chunk(records: int, counts: Counts) -> None:
    """Count what a checkpointed chunk held."""
    CHUNKS.inc()
    CHUNK_RECORDS.observe(records)
    for outcome, counter in _OUTCOMES.items():
        counter.inc(getattr(counts, outcome))
    SESSIONS_OPENED.inc(counts.opened)
    STUBS_REMOVED.inc(counts.stubs_removed)
    RETRIED.inc(counts.retried)
    LATE.inc(counts.late)
    EVENT_IDS_REUSED.inc(counts.reused_event_ids)
    for cause, count in counts.closed.items():
        SESSIONS_CLOSED.labels(cause).inc(count)
    for reason, count in counts.rejected.items():
        REJECTED.labels(reason).inc(count)
        _REJECTED.inc(count)
