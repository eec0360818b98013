"""Google Analytics 4: the daily export to BigQuery. https://support.google.com/analytics/answer/7029846."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.foreign_exports.history import Act, Expected

NAMES = {
    "pageview": "page_view",
    "click": "click",
    "scroll": "scroll",
    "form": "form_submit",
    "purchase": "purchase",
    "leave": "user_engagement",
}
TYPES = {
    "page_view": "pageview", "click": "click", "scroll": "scroll", "form_submit": "form_submit",
    "purchase": "conversion", "user_engagement": "scroll",
}  # fmt: skip
#: What Google counts by itself, which no visitor does.
COUNTED_BY_GOOGLE = {"session_start", "first_visit"}


def rows(history: list[Act], *, writes_integers_as_text: bool) -> list[dict[str, Any]]:
    """Return the rows of the table. JSON writes its 64-bit integers as text, Parquet as integers."""
    integer = str if writes_integers_as_text else int
    seen: set[str] = set()
    found = []
    for act in history:
        names = [NAMES.get(act.kind, act.name.replace(" ", "_"))]
        if act.visitor not in seen:
            names[:0] = ["first_visit", "session_start"]
            seen.add(act.visitor)
        found += [_row(act, name, integer) for name in names]
    return found


def _row(act: Act, name: str, integer: Any) -> dict[str, Any]:
    params: dict[str, Any] = {
        "page_location": act.page,
        "page_title": "Shop",
        "ga_session_id": act.at_ms // 1_000,
        **{key: value for key, value in act.properties.items() if key != "items"},
    }
    if act.kind == "purchase":
        params |= {"value": act.value, "currency": "EUR", "transaction_id": act.properties["order_id"]}
    if act.kind == "leave":
        params["engagement_time_msec"] = 12_345
    row = {
        "event_date": "20250301",
        "event_timestamp": integer(act.at_ms * 1_000 + 123),
        "event_name": name,
        "event_params": [{"key": key, "value": _value(value, integer)} for key, value in params.items()],
        "user_pseudo_id": act.visitor,
        "privacy_info": {"analytics_storage": "Yes", "ads_storage": "Yes"},
        "device": {
            "category": "smart tv" if act.visitor.endswith("7") else "mobile",
            "operating_system": "Android",
            "language": "de-de",
            "web_info": {"browser": "Chrome", "browser_version": "122.0"},
        },
        "geo": {"country": "Germany", "region": "Berlin", "city": "Berlin"},
        "traffic_source": {"name": "(direct)", "medium": "(none)", "source": "(direct)"},
        "platform": "WEB",
        "items": [],
    }
    if act.kind == "purchase":
        row["ecommerce"] = {"purchase_revenue": act.value, "transaction_id": act.properties["order_id"]}
        row["items"] = [
            {"item_id": each["sku"], "quantity": integer(each["quantity"])} for each in act.properties["items"]
        ]
    return row


def _value(value: Any, integer: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"int_value": integer(value)}
    return {"double_value": value} if isinstance(value, float) else {"string_value": value}


def write(history: list[Act], directory: Path) -> Path:
    """Write the export as JSON."""
    path = directory / "events_20250301.json.gz"
    lines = [json.dumps(row) + "\n" for row in rows(history, writes_integers_as_text=True)]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def read(path: Path) -> list[Expected]:
    """Read the export as its documentation explains it."""
    found = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        row = json.loads(line)
        if row["event_name"] in COUNTED_BY_GOOGLE:
            continue
        params = {
            each["key"]: next(value for value in each["value"].values() if value is not None)
            for each in row["event_params"]
        }
        found.append(
            Expected(
                key=row["user_pseudo_id"],
                at_ms=int(row["event_timestamp"]) // 1_000,
                event_type=TYPES.get(row["event_name"], "click"),
                page_url=params["page_location"],
                value=float(params.get("value", 0)),
                currency=params.get("currency", ""),
                name=row["event_name"],
            )
        )
    return found
