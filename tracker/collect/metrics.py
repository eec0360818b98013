"""What the collector counts. One registry an app, so that two apps in one process don't share figures."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: From a broker next door to the limit that a request waits for its ack.
_PRODUCE_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CollectMetrics:
    """The collector's figures, with their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tracker_collect_requests",
            "Requests answered, by endpoint and HTTP status",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self.records_acked = Counter(
            "tracker_collect_records_acked",
            "Records that Kafka has acknowledged in time",
            registry=self.registry,
        )
        self.records_unsettled = Gauge(
            "tracker_collect_records_unsettled",
            "Records handed to Kafka and not settled",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.produce_seconds = Histogram(
            "tracker_collect_produce_seconds",
            "Time from handing records to the producer to their ack",
            buckets=_PRODUCE_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.records_spilled = Counter(
            "tracker_collect_records_spilled",
            "Records accepted onto the local disk because Kafka could not take them",
            registry=self.registry,
        )
        self.records_drained = Counter(
            "tracker_collect_records_drained",
            "Spilled records that Kafka has acknowledged since",
            registry=self.registry,
        )
        self.spill_refusals = Counter(
            "tracker_collect_spill_refusals",
            "Requests answered 503 because the spill was full or its disk refused",
            registry=self.registry,
        )
        self.spill_records = Gauge(
            "tracker_collect_spill_records",
            "Records that wait on the local disk",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.spill_bytes = Gauge(
            "tracker_collect_spill_bytes",
            "What the records on the local disk count for in TRACKER_SPILL_MAX_BYTES",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.spill_max_bytes = Gauge(
            "tracker_collect_spill_max_bytes",
            "TRACKER_SPILL_MAX_BYTES of the collector",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.spill_oldest_age_seconds = Gauge(
            "tracker_collect_spill_oldest_age_seconds",
            "How long the oldest record on the local disk has waited",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.spill_draining = Gauge(
            "tracker_collect_spill_draining",
            "1 while Kafka takes what has waited",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.events_rejected = Counter(
            "tracker_collect_events_rejected",
            "Events of batches that were refused while others of the batch were taken or refused",
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "tracker_collect_events_dropped",
            "Events not taken because their visitor objects to tracking",
            ["signal"],
            registry=self.registry,
        )
        self.keys = Gauge(
            "tracker_collect_keys", "Write and read keys in use", multiprocess_mode="livemin", registry=self.registry
        )
        self.keys_file_valid = Gauge(
            "tracker_collect_keys_file_valid",
            "1 if the keys in use are the file's, 0 if the file has become invalid since",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self._children: dict[tuple[str, int], Counter] = {}

    def count_request(self, endpoint: str, status: int) -> None:
        """Count one answered request; ``endpoint`` is a route's pattern, never a path with ids."""
        child = self._children.get((endpoint, status))
        if child is None:
            child = self._children[endpoint, status] = self._requests.labels(endpoint, str(status))
        child.inc()

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def count_refused(self, status: int) -> None:
        """Count a request that was refused before anybody knew what it was for."""
        self.count_request("refused", status)


def exposition_of_all(figures: Path) -> bytes:
    """Return the figures of all processes that write theirs into this directory, those that have ended included."""
    everybody = CollectorRegistry()
    MultiProcessCollector(everybody, str(figures))  # type: ignore[no-untyped-call]
    return generate_latest(everybody)
