"""A generated history of one workspace: visitors, their sessions and events, as rows that the tracker would write.

It has what makes reports go wrong: visitors who come back through other campaigns or directly, events whose own clock
is off, bots, our own people, visitors who are known by an id on some visits only, visitors who see another variant
later, sessions without events, events without a session row, conversions in another currency or without a value, pages
in many spellings, and rows that came twice.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

WORKSPACE = "history"
START_MS = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)
DAYS = 75
MINUTE_MS, DAY_MS = 60_000, 86_400_000

#: Its name has what a parameter of a pipe escapes.
SPRING = "50 % 'spring' \\ sale"
CAMPAIGNS = (SPRING, "summer", "brand", "retargeting")
PAGES = (
    "https://shop.example/",
    "https://shop.example",
    "https://SHOP.example/?utm_source=x#top",
    "https://shop.example/prices",
    "https://shop.example/prices?a=/b",
    "https://www.shop.example:8443/hats/blue",
    "shop.example/no-scheme",
    "https://shop.example/späti?q=ü",
    "https://shop.example/sp%C3%A4ti",
    "",
)
OURS = {
    "internal_networks": "203.0.113.0/24,2001:db8::/32",
    "internal_users": "user-boss",
    "internal_environments": "staging",
}


@dataclass
class History:
    """The rows, each once, as they count in the end."""

    sessions: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)

    def written(self, datasource: str, seed: int) -> Iterator[Row]:
        """Yield the rows as they are sent: in any order, some of them twice, sessions also with their older rows."""
        rng = random.Random(seed)
        rows = list(self.sessions if datasource == "session_v1" else self.events)
        rows += rng.sample(rows, len(rows) // 10)
        if datasource == "session_v1":
            rows += [_older(row) for row in self.sessions if rng.random() < 0.5]
        rng.shuffle(rows)
        yield from rows


def generate(seed: int, visitors: int) -> History:
    """Return a history; the same for the same arguments. It has about ten events for each visitor."""
    rng = random.Random(seed)
    history = History()
    for number in range(visitors):
        _add_visitor(history, rng, f"visitor-{number}")
    return history


def text_time(ms: int) -> str:
    """Return a time as it stands in rows."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_visitor(history: History, rng: random.Random, key: str) -> None:
    device = {
        "ip": rng.choices(["198.51.100.0", "203.0.113.0", "2001:db8:7::", ""], [95, 1, 1, 3])[0],
        "is_bot": rng.random() < 0.03,
        "environment": rng.choices(["production", "staging"], [99, 1])[0],
    }
    users = rng.sample(["", "", "user-1", f"{key}-user", "user-boss"], 2)  # a device may have two users
    visitor_id = f"{key}-id" if rng.random() < 0.4 else ""  # has agreed to be known again
    variant = rng.choice(["control", "new"])
    at_ms = START_MS + rng.randrange(DAYS * DAY_MS)
    for number in range(min(8, 1 + int(rng.expovariate(0.8)))):
        is_shown = rng.random() < 0.7
        if is_shown and rng.random() < 0.02:
            variant = {"control": "new", "new": "control"}[variant]
        session = _session(rng, key, number, at_ms) | device | {"user_id": rng.choice(users)}
        if visitor_id and rng.random() < 0.8:
            session["visitor_id"] = visitor_id
            if rng.random() < 0.5:  # the session's cookie has gone meanwhile
                session["session_key"] = session["session_id"]
        if is_shown:
            session |= {"ab_test_id": "headline", "ab_test_variant_id": variant}
        events = _events(rng, session)
        session["event_count"] = len(events)
        history.events += events
        if rng.random() < 0.998:
            history.sessions.append(session)
        at_ms += rng.choice([MINUTE_MS * 31, DAY_MS, DAY_MS * 5, DAY_MS * 20]) + rng.randrange(DAY_MS)


def _session(rng: random.Random, key: str, number: int, at_ms: int) -> Row:
    source = rng.choices(["direct", "campaign", "tags", "click", "referrer"], [30, 30, 20, 10, 10])[0]
    campaign = rng.choice(CAMPAIGNS)
    is_expired = rng.random() < 0.95
    length_ms = rng.randrange(20 * MINUTE_MS)
    return {
        "session_id": key if number == 0 else f"{key}-{number}",
        "session_key": key,
        "workspace_id": WORKSPACE,
        "campaign_id": campaign if source == "campaign" else "",
        "landing_page_id": rng.choice(["", "", "lp-1", "lp-2"]),
        "utm_source": rng.choice(["news", "google"]) if source == "tags" else "",
        "utm_medium": rng.choice(["mail", "cpc", ""]) if source == "tags" else "",
        "utm_campaign": rng.choice([campaign, ""]) if source == "tags" else "",
        "click_id_type": rng.choice(["gclid", "fbclid"]) if source == "click" else "",
        "referrer_host": "blog.example" if source == "referrer" else "",
        "created_at": text_time(at_ms),
        "last_activity_at": text_time(at_ms + length_ms),
        "closed_at": text_time(at_ms + length_ms + 30 * MINUTE_MS) if is_expired else None,
        "close_reason": "timeout" if is_expired else "",
        "is_expired": is_expired,
        "session_timeout_seconds": 1800,
        "version": 4_000 + number,
        **dict.fromkeys(_OTHER_SESSION_COLUMNS, ""),
        "ab_test_id": "",
        "ab_test_variant_id": "",
    }


def _events(rng: random.Random, session: Row) -> list[Row]:
    begun_ms = int(datetime.fromisoformat(session["created_at"]).timestamp() * 1000)
    late_ms = rng.choices([0, -90_000, 3_600_000], [94, 3, 3])[0]  # a browser whose clock is off
    return [
        _event(rng, session, place, begun_ms + late_ms + place * rng.randrange(1, 40_000))
        for place in range(1, rng.choices([0, 1, rng.randrange(2, 12)], [2, 18, 80])[0] + 1)
    ]


def _event(rng: random.Random, session: Row, place: int, at_ms: int) -> Row:
    kinds = ["pageview", "click", "form_submit", "scroll", "conversion"]
    kind = "pageview" if place == 1 and rng.random() < 0.95 else rng.choices(kinds, [40, 25, 10, 18, 7])[0]
    is_worth = kind == "conversion" or rng.random() < 0.01
    return {
        "timestamp": text_time(at_ms),
        "id": f"{session['session_id']}/{place}",
        "event_id": f"{session['session_id']}-{place}",
        "event_type": kind,
        "event_value": rng.choice(["10", "24.90", "99", "", "free"]) if is_worth else "",
        "event_value_type": rng.choice(["EUR", "EUR", "EUR", "USD"]) if is_worth else "",
        "session_id": session["session_id"],
        "workspace_id": WORKSPACE,
        "campaign_id": session["campaign_id"],
        "landing_page_id": session["landing_page_id"],
        "session_event_sequence": place,
        "page_url": rng.choice(PAGES),
        "ab_test_id": session["ab_test_id"] or None,
        "ab_test_variant_id": session["ab_test_variant_id"] or None,
        "environment": session["environment"],
        **dict.fromkeys(("user_id", "attribution_id", "project_id", "campaign_environment"), ""),
    }


def _older(row: Row) -> Row:
    """Return the row that a session had before it got context and was closed."""
    return row | {
        "campaign_id": SPRING,
        "is_expired": False,
        "is_bot": True,
        "created_at": text_time(START_MS),
        "ab_test_id": "headline",
        "ab_test_variant_id": "old",
        "version": row["version"] - 1_000,
    }


_OTHER_SESSION_COLUMNS = (
    "visitor_id", "user_id", "project_id", "attribution_id", "campaign_environment", "user_agent", "browser",
    "browser_version", "os", "os_version", "device_type", "language", "country", "region", "city",
    "utm_term", "utm_content",
)  # fmt: skip
