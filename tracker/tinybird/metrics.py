"""What the client counts, per datasource. Names begin with ``tracker_sink``, after the process that shows them."""

from prometheus_client import Counter, Gauge

ROWS = Counter("tracker_sink_rows", "Rows that Tinybird confirmed", ["datasource"])
PACED_SECONDS = Counter("tracker_sink_paced_seconds", "Time that requests waited for the rate limit", ["datasource"])
QUARANTINED = Counter("tracker_sink_quarantined_rows", "Rows that Tinybird put into quarantine", ["datasource"])
UNIDENTIFIED = Counter(
    "tracker_sink_unidentified_rows",
    "Quarantined rows that could not be identified",
    ["datasource"],
)
REQUESTS = Counter("tracker_sink_requests", "Requests to Tinybird by status", ["datasource", "status"])
CIRCUIT = Gauge("tracker_sink_circuit", "1 for the state that the datasource is in", ["datasource", "state"])
