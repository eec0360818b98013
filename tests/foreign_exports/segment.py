"""Segment: messages in a bucket. https://www.twilio.com/docs/segment/connections/spec/common."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.foreign_exports.history import Act, Expected

TRACKED = {
    "click": "Product Clicked", "scroll": "Page Scrolled", "form": "Form Submitted", "purchase": "Order Completed",
    "leave": "Page Left",
}  # fmt: skip
TYPES = {"Product Clicked": "click", "Form Submitted": "form_submit", "Order Completed": "conversion"}
USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Mobile/15E148 Safari/604.1"  # noqa: E501


def _message(act: Act, number: int) -> dict[str, Any]:
    time = datetime.fromtimestamp(act.at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    page = {"path": "/", "referrer": "https://search.example/", "search": "", "title": "Shop", "url": act.page}
    message: dict[str, Any] = {
        "anonymousId": act.visitor,
        "userId": f"user-{act.visitor}" if number % 3 == 0 else None,
        "channel": "client",
        "context": {
            "ip": "203.0.113.7",
            "library": {"name": "analytics.js", "version": "next-1.64.0"},
            "locale": "de-DE",
            "page": page,
            "userAgent": USER_AGENT,
        },
        "integrations": {},
        "messageId": f"ajs-next-{act.id}",
        "originalTimestamp": time,
        "receivedAt": time,
        "sentAt": time,
        "timestamp": time,
        "version": 2,
        "writeKey": "wk",
    }
    if act.kind == "pageview":
        return {**message, "type": "page", "name": "Shop", "properties": page}
    properties = dict(act.properties)
    if act.kind == "purchase":
        properties |= {"revenue": act.value, "currency": "EUR"}
    return {**message, "type": "track", "event": TRACKED.get(act.kind, act.name), "properties": properties}


def write(history: list[Act], directory: Path) -> Path:
    """Write the messages; before every twentieth a user is identified."""
    path = directory / "segment.json.gz"
    lines = []
    for number, act in enumerate(history):
        message = _message(act, number)
        if number % 20 == 0:
            traits = {"email": "ada@example.com", "plan": "pro"}
            lines.append({**message, "messageId": f"id-{number}", "type": "identify", "traits": traits, "event": None})
        lines.append(message)
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    return path


def read(path: Path) -> list[Expected]:
    """Read the messages as the specification explains them."""
    found = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        message = json.loads(line)
        if message["type"] == "identify":
            continue
        properties = message["properties"]
        is_page = message["type"] == "page"
        found.append(
            Expected(
                key=message["anonymousId"],
                at_ms=round(datetime.fromisoformat(message["timestamp"]).timestamp() * 1_000),
                event_type="pageview" if is_page else TYPES.get(message["event"], "click"),
                page_url=properties["url"] if is_page else message["context"]["page"]["url"],
                value=float(properties.get("revenue", 0)),
                currency=properties.get("currency", ""),
                name="" if is_page else message["event"],
            )
        )
    return found
