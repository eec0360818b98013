"""What the sink counts, per datasource. Names follow Prometheus's conventions; each is explained by its help text."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from topics.dead_letter import RejectReason
from tracker.tinybird import metrics as client_metrics

_SECONDS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1_800, 7_200)

BATCHES = Counter("tracker_sink_batches", "Batches written, by what closed them", ["datasource", "closed_by"])
BATCH_ROWS = Histogram(
    "tracker_sink_batch_rows", "Rows per batch", ["datasource"], buckets=(1, 10, 100, 1_000, 10_000, 100_000)
)
BATCH_BYTES = Histogram(
    "tracker_sink_batch_bytes",
    "NDJSON bytes per batch",
    ["datasource"],
    buckets=(1_000, 10_000, 100_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000, 10_000_000),
)
WRITE_SECONDS = Histogram(
    "tracker_sink_write_seconds", "Time to write a batch, waits and retries included", ["datasource"], buckets=_SECONDS
)
LATENCY_SECONDS = Histogram(
    "tracker_sink_latency_seconds",
    "From a record's own timestamp to Tinybird's confirmation, of each batch's oldest row",
    ["datasource"],
    buckets=_SECONDS,
)
END_TO_END_SECONDS = Histogram(
    "tracker_sink_end_to_end_seconds",
    "From the source log's own time for a chunk's oldest record to Tinybird's confirmation of the chunk's first row",
    ["datasource"],
    buckets=_SECONDS,
)
DUPLICATES = Counter("tracker_sink_duplicates", "Output records seen before and dropped", ["datasource"])
REJECTED = Counter("tracker_sink_rejected_rows", "Rows that became dead letters", ["datasource", "reason"])
DEAD_LETTER_FLOODS = Gauge(
    "tracker_sink_dead_letter_flood",
    "Dead letters of a sender among a partition's last records, while they are too many",
    ["producer", "workspace"],
)
LOST = Counter(
    "tracker_sink_lost_records", "Output records that retention deleted before they were sent", ["datasource"]
)
HELD_BYTES = Gauge("tracker_sink_held_bytes", "Memory of the rows that are not written yet", ["datasource"])
IN_FLIGHT = Gauge("tracker_sink_batches_in_flight", "Batches under way", ["datasource"])
TARGET_BYTES = Gauge("tracker_sink_batch_target_bytes", "Bytes at which a batch is full at present", ["datasource"])
WINDOW_SECONDS = Gauge("tracker_sink_batch_window_seconds", "Longest wait for a batch at present", ["datasource"])
LAG_RECORDS = Gauge(
    "tracker_sink_lag_records", "Output records that are not committed, by partition", ["datasource", "partition"]
)
PARTITIONS = Gauge("tracker_sink_partitions", "Partitions that this worker takes records of", ["datasource"])


def start_at_zero(datasource: str) -> None:
    """Show what alerts look at from the start: Prometheus does not see a counter's first value as an increase."""
    for counter in (client_metrics.QUARANTINED, client_metrics.UNIDENTIFIED, DUPLICATES, LOST):
        counter.labels(datasource)
    for reason in get_args(RejectReason):
        REJECTED.labels(datasource, reason)
