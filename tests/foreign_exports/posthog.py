"""PostHog: batch exports of events. https://posthog.com/docs/data-pipelines/batch-exports/s3."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from tests.foreign_exports.history import Act, Expected

NAMES = {"pageview": "$pageview", "leave": "$pageleave", "scroll": "page scrolled", "purchase": "purchase"}
TYPES = {"$pageview": "pageview", "$pageleave": "scroll", "purchase": "conversion"}
SEEN = {"click": "click", "submit": "form_submit"}


def rows(history: list[Act]) -> list[dict[str, Any]]:
    """Return the rows of the events model."""
    return [_row(act) for act in history]


def _row(act: Act) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "$current_url": act.page,
        "$referrer": "$direct",
        "$session_id": f"s-{act.visitor}",
        "$lib": "web",
        "$browser": "Firefox",
        "$browser_version": 123,
        "$os": "Windows",
        "$device_type": "Desktop",
        "$viewport_width": 1280,
        "$viewport_height": 720,
        "$ip": "203.0.113.7",
        "$geoip_country_code": "DE",
        "$geoip_latitude": 52.5,
        "$set": {"email": "ada@example.com"},
        **act.properties,
    }
    if act.kind == "purchase":
        properties |= {"revenue": act.value, "currency": "EUR"}
    if act.kind == "leave":
        properties |= {"$prev_pageview_duration": 12.345, "$prev_pageview_max_scroll_percentage": 0.57}
    if act.kind in {"click", "form"}:
        properties |= {"$event_type": "submit" if act.kind == "form" else "click", "$el_text": "Buy"}
    name = "$autocapture" if act.kind in {"click", "form"} else NAMES.get(act.kind, act.name)
    time = datetime.fromtimestamp(act.at_ms / 1_000, UTC)
    return {
        "uuid": act.id,
        "event": name,
        "distinct_id": act.visitor,
        "person_id": f"p-{act.visitor}",
        "properties": properties,
        "person_properties": {"email": "ada@example.com"},
        "timestamp": time.isoformat(timespec="microseconds"),
        "inserted_at": time.isoformat(timespec="microseconds"),
    }


def write(history: list[Act], directory: Path) -> Path:
    """Write the export as JSON lines."""
    path = directory / "posthog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(history)))
    return path


def write_parquet(history: list[Act], directory: Path) -> Path:
    """Write the export as Parquet, where properties are JSON in a text."""
    path = directory / "posthog.parquet"
    texts = ("properties", "person_properties")
    found = [{**row, **{name: json.dumps(row[name]) for name in texts}} for row in rows(history)]
    for row in found:
        row["timestamp"] = datetime.fromisoformat(row["timestamp"])
    parquet.write_table(pyarrow.Table.from_pylist(found), path)
    return path


def read(path: Path) -> list[Expected]:
    """Read the export as its documentation explains it."""
    found = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        properties = row["properties"]
        kind = SEEN[properties["$event_type"]] if "$event_type" in properties else TYPES.get(row["event"], "click")
        found.append(
            Expected(
                key=properties["$session_id"],
                at_ms=round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1_000),
                event_type=kind,
                page_url=properties["$current_url"],
                value=float(properties.get("revenue", 0)),
                currency=properties.get("currency", ""),
                name=row["event"],
                is_passive=row["event"] == "$pageleave",
            )
        )
    return found
