"""What the sink counts, per datasource."""

from prometheus_client import Counter, Histogram

ROWS = Counter("tracker_sink_rows", "Rows that Tinybird confirmed", ["datasource"])
BATCHES = Counter("tracker_sink_batches", "Batches written", ["datasource"])
BATCH_ROWS = Histogram(
    "tracker_sink_batch_rows", "Rows per batch", ["datasource"], buckets=(1, 10, 100, 1_000, 10_000, 100_000)
)
WRITE_SECONDS = Histogram("tracker_sink_write_seconds", "Time to write a batch, retries included", ["datasource"])
DUPLICATES = Counter("tracker_sink_duplicates", "Output records seen before and dropped", ["datasource"])
QUARANTINED = Counter("tracker_sink_quarantined_rows", "Rows that Tinybird put into quarantine", ["datasource"])
REJECTED = Counter("tracker_sink_rejected_rows", "Rows that became dead letters", ["datasource", "reason"])
REQUESTS = Counter("tracker_sink_requests", "Requests to Tinybird by status", ["datasource", "status"])
