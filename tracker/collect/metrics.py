"""The collector's metrics. Each collector has its own registry, so that two in one process don't share figures."""

from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: From a broker in the same rack to the longest wait of a request for its ack.
_PRODUCE_BUCKETS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Metrics:
    """Metrics of one part of the collector. Their names begin with ``tracker_collect_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"tracker_collect_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, mode: Any = "livemax", labels: tuple[str, ...] = ()) -> Gauge:
        """Return a gauge. ``mode`` combines the values of several processes: highest, lowest or sum."""
        return Gauge(f"tracker_collect_{name}", text, labels, multiprocess_mode=mode, registry=self._registry)


class DeliveryMetrics(_Metrics):
    """Records on their way to Kafka."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.records_acked = self._counter("records_acked", "Records that Kafka has acknowledged in time")
        self.records_unsettled = self._gauge(
            "records_unsettled", "Records handed to Kafka without an answer so far", "livesum"
        )
        self.produce_seconds = Histogram(
            "tracker_collect_produce_seconds",
            "Time from handing records to the producer to their ack",
            buckets=_PRODUCE_BUCKETS_SECONDS,
            registry=registry,
        )


class SpillMetrics(_Metrics):
    """Records on the local disk."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.records_spilled = self._counter(
            "records_spilled", "Records accepted onto the local disk because Kafka could not take them"
        )
        self.records_drained = self._counter("records_drained", "Spilled records that Kafka has acknowledged since")
        self.refusals = self._counter(
            "spill_refusals", "Requests answered 503 because the spill was full or its disk refused"
        )
        self.records = self._gauge("spill_records", "Records that wait on the local disk", "livesum")
        self.bytes = self._gauge(
            "spill_bytes", "Size of the records on the local disk, as TRACKER_SPILL_MAX_BYTES counts it"
        )
        self.max_bytes = self._gauge("spill_max_bytes", "TRACKER_SPILL_MAX_BYTES of the collector")
        self.oldest_age_seconds = self._gauge(
            "spill_oldest_age_seconds", "How long the oldest record on the local disk has waited"
        )
        self.draining = self._gauge("spill_draining", "1 while Kafka takes records from the local disk")


class AccessMetrics(_Metrics):
    """Who may send what."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.keys = self._gauge("keys", "Write and read keys in use", "livemin")
        self.keys_file_valid = self._gauge(
            "keys_file_valid",
            "1 if the keys in use are the file's, 0 if the file has become invalid since",
            "livemin",
        )
        self.foreign_cookies = self._counter(
            "foreign_cookies",
            "Requests whose session cookie has an id that is not taken, because nobody of us minted it",
        )
        self.quota_used_events = self._gauge(
            "quota_used_events", "Events of today (UTC) of a workspace that has a quota", labels=("workspace",)
        )
        self.quota_warn_events = self._gauge(
            "quota_warn_events", "Events of a day from which on a workspace is warned", labels=("workspace",)
        )
        self.quota_max_events = self._gauge(
            "quota_max_events",
            "Events of a day that a workspace with a quota may send; +Inf: it is only warned",
            labels=("workspace",),
        )
        self.quota_read_failures = self._counter(
            "quota_read_failures", "Times that the topic of usage could not be read: meanwhile quotas do not advance"
        )
        self._limited = self._counter(
            "rate_limited", "Requests answered 429, by the limit that they exceed", ("limit",)
        )

    def count_limited(self, limit: str) -> None:
        """Count a request that exceeds a limit."""
        self._limited.labels(limit).inc()


class CollectMetrics(_Metrics):
    """All metrics of a collector."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        super().__init__(self.registry)
        self.access = AccessMetrics(self.registry)
        self.delivery = DeliveryMetrics(self.registry)
        self.spill = SpillMetrics(self.registry)
        self._requests = self._counter(
            "requests", "Requests answered, by endpoint and HTTP status", ("endpoint", "status")
        )
        self.events_rejected = self._counter(
            "events_rejected", "Events of batches that were refused while others of the batch were taken or refused"
        )
        self.events_dropped = self._counter(
            "events_dropped", "Events not taken because their visitor objects to tracking", ("signal",)
        )
        self.task_failures = self._counter(
            "background_task_failures", "Times that a background task failed and was started again", ("task",)
        )
        self._children: dict[tuple[str, int], Counter] = {}

    def count_request(self, endpoint: str, status: int) -> None:
        """Count one answered request; ``endpoint`` is a route's pattern, never a path with ids."""
        child = self._children.get((endpoint, status))
        if child is None:
            child = self._children[endpoint, status] = self._requests.labels(endpoint, str(status))
        child.inc()

    def count_task_failure(self, task: str) -> None:
        """Count a failure of a background task."""
        self.task_failures.labels(task).inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def exposition_of_all(directory: Path) -> bytes:
    """Return the metrics of all processes that write theirs into this directory, including those that have ended."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
