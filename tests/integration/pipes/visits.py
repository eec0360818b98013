"""Visits as a producer sends them to Kafka, and the history that the written session rules make of the log.

The visitors of two workspaces have the same ids and session keys. They come back after a time-out, by other campaigns
also in the middle of a visit, some with a cookie that outlasts the session's, say late who they are, share devices,
see another variant later; records come twice.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from tests.integration.pipes.history import CAMPAIGNS, PAGES, History, Row, text_time
from tests.reference.model import Model
from topics.catalog import SEQUENCED, SESSIONS

WORKSPACES = ("w1", "w2")
#: About; of each visitor in one workspace.
EVENTS_A_VISITOR = 10
#: The columns of events that a record may leave out.
_ABSENT: Row = {
    "ab_test_id": None,
    "ab_test_variant_id": None,
    "event_value": "",
    "event_value_type": "",
    "page_url": "",
}


class Visits:
    """What visitors do, part by part of the time: in each part, a visitor who comes has one visit."""

    def __init__(self, seed: int, events: int, parts: int) -> None:
        self._rng = random.Random(seed)
        count = max(1, events // EVENTS_A_VISITOR)
        self._visitors = [self._visitor(number, workspace) for number in range(count // 2) for workspace in WORKSPACES]
        self._parts = parts
        self._event_number = 0

    def part(self, now_ms: int) -> list[tuple[bytes, bytes]]:
        """Return the records of the next part, (key, value), in an order in which visits interleave."""
        placed: list[tuple[float, bytes, bytes]] = []
        for visitor in self._visitors:
            if self._rng.random() < 2.5 / self._parts:
                at, values = self._rng.random(), self._visit(visitor, now_ms)
                for place, value in enumerate(values):
                    sent = (at + place / 100, visitor["key"].encode(), value)
                    placed += [sent] * (2 if self._rng.random() < 0.03 else 1)
        return [(key, value) for _, key, value in sorted(placed, key=lambda each: each[0])]

    def _visitor(self, number: int, workspace: str) -> Row:
        rng = self._rng
        return {
            "name": f"visitor-{number}",
            "key": f"visitor-{number}",
            "workspace": workspace,
            "visitor_id": f"visitor-{number}-id" if rng.random() < 0.5 else "",
            "device": {"ip": rng.choice(["198.51.100.0", "203.0.113.0"]), "is_bot": rng.random() < 0.05},
            "environment": rng.choices(["production", "staging"], [95, 5])[0],
            "users": rng.choice([[""], ["", f"user-{number}"], [f"user-{number}", "user-shared", ""], ["user-boss"]]),
            "variant": rng.choice(["control", "new"]),
        }

    def _visit(self, visitor: Row, now_ms: int) -> list[bytes]:
        """The records of one visit: its beginning, its events, late identifies and other campaigns among them."""
        rng = self._rng
        if rng.random() < 0.3:  # the session's cookie has gone
            visitor["key"] = f"{visitor['name']}-{rng.randrange(1_000)}"
        if rng.random() < 0.1:
            visitor["variant"] = "control" if visitor["variant"] == "new" else "new"
        user_id = rng.choice(visitor["users"])
        context = {"environment": visitor["environment"], "campaign_id": rng.choice(["", "", *CAMPAIGNS])}
        if rng.random() < 0.7:
            context |= {"ab_test_id": "headline", "ab_test_variant_id": visitor["variant"]}
        records = [self._record(visitor, "session", context, now_ms, _came_by(rng))]
        for _ in range(rng.choice([0, 1, 3, 5, 8])):
            records.append(self._event(visitor, now_ms))
            if rng.random() < 0.1:
                records.append(self._record(visitor, "session", {"user_id": user_id}, now_ms))
        return records

    def _event(self, visitor: Row, now_ms: int) -> bytes:
        rng = self._rng
        self._event_number += 1
        kind = rng.choices(["pageview", "click", "form_submit", "conversion"], [45, 25, 10, 20])[0]
        data = {"event_type": kind, "event_id": f"event-{self._event_number}", "page_url": rng.choice(PAGES)}
        if kind == "conversion":
            data |= {"event_value": rng.choice(["10", "24.90", "free"]), "event_value_type": rng.choice(["EUR", "USD"])}
        came_by = _came_by(rng) if kind == "pageview" and rng.random() < 0.1 else {}
        off_ms = rng.choices([0, -90_000, 3_600_000], [94, 3, 3])[0]
        return self._record(visitor, "event", data, now_ms + off_ms, came_by)

    def _record(self, visitor: Row, kind: str, data: Row, at_ms: int, came_by: Row | None = None) -> bytes:
        record = {
            "type": kind,
            "session_id": visitor["key"],
            "workspace_id": visitor["workspace"],
            "timestamp": text_time(at_ms),
            "visitor": {**visitor["device"], **(came_by or {})},
            "data": data,
        }
        if visitor["visitor_id"] and self._rng.random() < 0.8:
            record["visitor_id"] = visitor["visitor_id"]
        return orjson.dumps(record)


def _came_by(rng: random.Random) -> Row:
    ways = [
        {},
        {"utm_source": "news", "utm_medium": "mail", "utm_campaign": rng.choice(CAMPAIGNS)},
        {"utm_source": "google", "utm_medium": "cpc"},
        {"click_id": f"click-{rng.randrange(5)}", "click_id_type": rng.choice(["gclid", "fbclid"])},
        {"referrer_host": "blog.example"},
    ]
    return rng.choice(ways)


def history_of(log: Iterable[Any], rules: Any, workspace: str) -> History:
    """Return the rows of a workspace that the written session rules make of a log, without the code of the fold."""
    partitions: dict[int, list[Any]] = defaultdict(list)
    for record in log:
        partitions[record.partition].append(record)
    history, sessions = History(), {}
    for number, records in partitions.items():
        for made in Model(rules, number).take(records).made:
            if made.row is None or made.row.get("workspace_id") != workspace:
                continue
            if made.topic == SEQUENCED.suffix:
                history.events.append(_ABSENT | made.row)
            elif made.topic == SESSIONS.suffix:
                sessions[made.row["session_id"]] = made.row
    history.sessions = [row | {name: _to_the_ms(row[name]) for name in _TIMES} for row in sessions.values()]
    return history


_TIMES = ("created_at", "last_activity_at")


def _to_the_ms(text: str) -> str:
    return text_time(round(datetime.fromisoformat(text).timestamp() * 1000))
