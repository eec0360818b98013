"""Matomo: visits, as Live.getLastVisitsDetails answers. https://developer.matomo.org/api-reference/reporting-api."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.foreign_exports.history import HOUR_MS, Act, Expected

NAMES = {
    "pageview": "action", "click": "outlink", "scroll": "event", "form": "form", "purchase": "ecommerceOrder",
    "custom": "event", "leave": "content",
}  # fmt: skip
TYPES = {
    "action": "pageview", "outlink": "click", "event": "click", "form": "form_submit", "ecommerceOrder": "conversion",
}  # fmt: skip
OUTLINK = "https://partner.example/?utm_source=us"


def _action(act: Act, number: int) -> dict[str, Any]:
    kind = NAMES[act.kind]
    action: dict[str, Any] = {
        "type": kind,
        "url": OUTLINK if kind == "outlink" else act.page,
        "pageTitle": "Shop",
        "pageIdAction": str(number),
        "serverTimePretty": "Mar 1, 2025",
        "pageId": act.id,
        "timeSpent": 12,
        "timeSpentPretty": "12s",
        "icon": None,
        "iconSVG": "plugins/Morpheus/images/event.svg",
        "timestamp": act.at_ms // 1_000,
    }
    if kind == "event":
        action |= {"eventCategory": "shop", "eventAction": act.name or "scrolled", "eventValue": 3, **act.properties}
    if kind == "ecommerceOrder":
        action |= {"orderId": act.properties["order_id"], "revenue": act.value, "itemDetails": act.properties["items"]}
    return action


def write(history: list[Act], directory: Path) -> Path:
    """Write the visits, the last ones first, as the API answers."""
    by_visitor = sorted(history, key=lambda act: act.visitor)
    visits = []
    for visitor, acts in groupby(by_visitor, key=lambda act: act.visitor):
        visit: list[Act] = []
        for act in sorted(acts, key=lambda act: act.at_ms):
            if visit and act.at_ms > visit[-1].at_ms + 4 * HOUR_MS:
                visits.append(_visit(visitor, visit))
                visit = []
            visit.append(act)
        visits.append(_visit(visitor, visit))
    visits.sort(key=lambda visit: -visit["serverTimestamp"])
    path = directory / "visits.json"
    path.write_text(json.dumps(visits, indent=1))
    return path


def _visit(visitor: str, acts: list[Act]) -> dict[str, Any]:
    return {
        "idSite": 1,
        "idVisit": acts[0].at_ms // 1_000,
        "visitIp": "203.0.113.0",
        "visitorId": visitor,
        "actionDetails": [_action(act, number) for number, act in enumerate(acts)],
        "siteCurrency": "EUR",
        "serverTimestamp": acts[-1].at_ms // 1_000,
        "userId": None,
        "referrerUrl": "https://search.example/",
        "languageCode": "de",
        "deviceType": "Smartphone",
        "operatingSystemName": "Android",
        "operatingSystemVersion": "14",
        "browserName": "Chrome Mobile",
        "browserVersion": "122.0",
        "countryCode": "xx" if visitor.endswith("3") else "de",
        "region": "Unknown",
        "city": "Berlin",
    }


def read(path: Path) -> list[Expected]:
    """Read the visits as the documentation explains them."""
    found = []
    for visit in json.loads(path.read_text()):
        for action in visit["actionDetails"]:
            if action["type"] == "content":
                continue
            found.append(
                Expected(
                    key=visit["visitorId"],
                    at_ms=action["timestamp"] * 1_000,
                    event_type=TYPES[action["type"]],
                    page_url="" if action["type"] == "outlink" else action["url"],
                    value=float(action.get("revenue", 0)),
                    currency="EUR",
                    name=action["type"],
                )
            )
    return found
