"""docs/metrics.md, the dashboard and the alerts speak of the metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from tests.fixtures.kafka import PROJECT_DIR
from tracker.collect.metrics import CollectMetrics
from tracker.process import metrics as process
from tracker.processes import worker_pages
from tracker.sink import metrics as sink

#: Whatever is scraped has these, and what alerts give; a parent gives its workers' figures their names as `process`.
COMMON_LABELS = {"instance", "process", "job", "le", "alertname", "alertstate"}
UNITS = {"seconds", "bytes", "rows", "records", "count", "0 or 1"}

ALERTS = (PROJECT_DIR / "ops/prometheus/alerts.yml").read_text()
DASHBOARD = json.loads((PROJECT_DIR / "ops/grafana/tracker.json").read_text())


class Metric(NamedTuple):
    type: str
    labels: tuple[str, ...]


def registered() -> dict[str, Metric]:
    assert process.CHUNKS
    assert sink.BATCHES
    registries = (CollectMetrics().registry, REGISTRY, worker_pages.REGISTRY)
    return {name: metric for registry in registries for name, metric in of(registry)}


def of(registry: CollectorRegistry) -> Iterator[tuple[str, Metric]]:
    for one in registry._collector_to_names:
        if isinstance(one, MetricWrapperBase) and one._name.startswith("tracker_"):
            suffix = "_total" if one._type == "counter" else ""
            yield one._name + suffix, Metric(one._type, tuple(one._labelnames))


def documented() -> dict[str, tuple[Metric, str]]:
    rows = re.findall(
        r"^\| `(tracker_\w+)` \| (\w+) \| (.*?) \| (.+?) \| .+ \|$",
        (PROJECT_DIR / "docs/metrics.md").read_text(),
        re.MULTILINE,
    )
    return {name: (Metric(kind, tuple(re.findall(r"\w+", labels))), unit) for name, kind, labels, unit in rows}


def test_the_list_of_metrics_is_what_the_code_registers() -> None:
    assert {name: metric for name, (metric, _) in documented().items()} == registered()


def test_each_metric_has_a_unit_and_its_name_says_the_same() -> None:
    for name, (_, unit) in documented().items():
        assert unit in UNITS, name
        if named := re.search(r"_(seconds|bytes|rows)(_total)?$", name):
            assert unit == named[1], name


def expressions() -> list[str]:
    of_dashboard = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    of_alerts = re.findall(r"expr: >-\n(.*?)\n {8}(?:for|labels):", ALERTS, re.DOTALL)
    return [*of_dashboard, *of_alerts]


@pytest.mark.parametrize("expression", expressions())
def test_each_expression_uses_metrics_and_labels_that_exist(expression: str) -> None:
    known = registered()
    used = [re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\btracker_(?!\.)\w+", expression)]
    assert set(used) <= set(known)
    labels = {label for name in used for label in known[name].labels} | COMMON_LABELS
    grouped = [label for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(", ")]
    selected = re.findall(r"(\w+)=~?\"", expression)
    assert {*grouped, *selected} <= labels


def test_descriptions_of_alerts_name_metrics_that_exist() -> None:
    names = re.findall(r"\btracker_(?:collect|process|sink)_\w+", ALERTS)
    assert {re.sub(r"_bucket$", "", name) for name in names} <= set(registered())


def pages() -> list[Path]:
    return sorted(
        [PROJECT_DIR / "README.md", *(PROJECT_DIR / "docs").glob("*.md"), *(PROJECT_DIR / "ops").rglob("*.md")]
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_page_names_metrics_that_exist_as_they_are_scraped(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"`…_[a-z]+", text) == [], "a name that is cut off can't be looked up"
    names = re.findall(r"\btracker_(?:collect|process|sink)_[a-z0-9_]*[a-z0-9]\b(?!\*)", text)
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} <= set(registered())


def test_every_alert_says_how_grave_it_is_what_is_wrong_and_what_to_do() -> None:
    alerts = ALERTS.split("- alert: ")[1:]
    page = (PROJECT_DIR / "docs/operations.md").read_text()
    for alert in alerts:
        for part in ("severity: ", "summary: ", "description: "):
            assert part in alert
        assert f"`{alert.splitlines()[0]}`" in page
    assert len(alerts) == len(re.findall(r"^\| `Tracker", page, re.MULTILINE))


def test_the_dashboard_has_a_row_for_each_stage_and_a_datasource_to_choose() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Sessions", "Process", "Sink", "Health"]
    assert [one["type"] for one in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert all(target["datasource"]["uid"] == "${datasource}" for target in targets(DASHBOARD))


def targets(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
