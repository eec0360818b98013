"""Figures of several processes on one page: every sample of each, told apart by a label, and valid for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tracker.observe.exposition import with_label


def shown(records: int, partition: str) -> str:
    """What a process shows, with every kind of metric and a value that needs escaping."""
    registry = CollectorRegistry()
    Counter("tracker_records", "Records", registry=registry).inc(records)
    Gauge("tracker_lag", "How far\nbehind", ["partition", "note"], registry=registry).labels(partition, 'a "b" {c} d')
    Histogram("tracker_seconds", "Time", buckets=(1,), registry=registry).observe(0.5)
    Gauge("tracker_unused", "No sample", ["partition"], registry=registry)
    return generate_latest(registry).decode()


def samples(text: str, label: str = "process") -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Every sample by its process, which is taken out of its labels."""
    found: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            found.setdefault(labels.pop(label, ""), []).append((sample.name, labels, sample.value))
    return found


def test_each_sample_of_each_process_is_there_with_its_process_as_a_label() -> None:
    one, two = shown(7, "0"), shown(9, "1")
    merged = samples(with_label("process", {"one": one, "two": two}))
    assert merged == {"one": samples(one)[""], "two": samples(two)[""]}
    assert ("tracker_records_total", {}, 7.0) in merged["one"]
    assert ("tracker_lag", {"partition": "1", "note": 'a "b" {c} d'}, 0.0) in merged["two"]


def test_a_family_is_described_once_with_the_samples_of_all_below() -> None:
    lines = with_label("process", {"one": shown(7, "0"), "two": shown(9, "0")}).splitlines()
    begin = lines.index("# TYPE tracker_records_total counter")
    assert lines[begin - 1] == "# HELP tracker_records_total Records"
    described = ['tracker_records_total{process="one"} 7.0', 'tracker_records_total{process="two"} 9.0']
    assert lines[begin + 1 : begin + 3] == described
    assert len([line for line in lines if line.startswith("# TYPE tracker_seconds ")]) == 1


def test_without_processes_there_is_nothing_to_show() -> None:
    assert with_label("process", {}) == ""
