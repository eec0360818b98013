"""What visitors did on a site: visits from campaigns, pages, clicks, purchases, and events with names of their own."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

START_MS = 1_740_787_200_000  # 2025-03-01
HOUR_MS = 3_600_000
TIMEOUT_MS = 1_800_000
LANDINGS = (
    "https://shop.example/",
    "https://shop.example/spring?utm_source=news&utm_medium=email&utm_campaign=spring",
    "https://shop.example/spring?utm_source=ads&utm_medium=cpc&utm_campaign=Fr%C3%BChling+25&gclid=Cj0K",
    "https://shop.example/sale?ref=blog&utm_source=blog",
)
PAGES = ("https://shop.example/shoes?size=43&color=red", "https://shop.example/cart", "https://shop.example/über-uns")
NAMES = ("plan_upgraded", "Video Played", "coupon_applied")


@dataclass
class Act:
    """Something that a visitor did, or that a program did for them."""

    visitor: str
    at_ms: int
    kind: str
    page: str
    id: str = ""
    name: str = ""
    value: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)


class Expected(NamedTuple):
    """An event as an import has to give it."""

    key: str
    at_ms: int
    event_type: str
    page_url: str
    value: float
    currency: str
    name: str
    is_passive: bool = False


class ExpectedSession(NamedTuple):
    """A session as an import has to give it: who, from when, how many events, and the campaign that brought them."""

    key: str
    created_ms: int
    event_count: int
    utm_source: str
    utm_medium: str
    utm_campaign: str


def new_history(seed: int, acts: int) -> list[Act]:
    """Return so many acts of some visitors, in the order of time. Visits are hours apart."""
    rng = Random(seed)
    done: list[Act] = []
    visitor = 0
    while len(done) < acts:
        visitor += 1
        at_ms = START_MS + rng.randrange(20 * 24 * HOUR_MS)
        for _ in range(rng.randint(1, 3)):
            done += _visit(rng, f"v{seed}-{visitor}", at_ms)
            at_ms = done[-1].at_ms + rng.randint(7, 90) * HOUR_MS
    done = done[:acts]
    done.sort(key=lambda act: act.at_ms)
    for number, act in enumerate(done):
        act.id = f"{seed:08x}-0000-4000-8000-{number:012x}"
    return done


def _visit(rng: Random, visitor: str, at_ms: int) -> list[Act]:
    page = rng.choice(LANDINGS)
    acts = [Act(visitor, at_ms, "pageview", page)]
    for _ in range(rng.randint(0, 9)):
        at_ms += rng.randint(1, 240_000)
        kind = rng.choices(("pageview", "click", "scroll", "form", "purchase", "custom"), (5, 4, 3, 1, 1, 3))[0]
        if kind == "pageview":
            page = rng.choice(PAGES)
        act = Act(visitor, at_ms, kind, page)
        if kind == "purchase":
            act.value = rng.choice((49.9, 120, 7.25))
            act.properties = {"order_id": f"o-{at_ms}", "items": [{"sku": "s1", "quantity": 2}]}
        if kind == "custom":
            act.name, act.properties = rng.choice(NAMES), {"step": rng.randint(1, 5), "note": "ü\U0001f680"}
        acts.append(act)
    # Some tabs are left long after anything was done in them.
    acts.append(Act(visitor, at_ms + rng.choice((5_000, 60_000, 3 * HOUR_MS)), "leave", page))
    return acts


def sessions_of(events: list[Expected]) -> list[ExpectedSession]:
    """Cut events into sessions by half an hour of silence; the first page says where the visitor came from."""
    found = []
    for key in sorted({event.key for event in events}):
        own = sorted((event for event in events if event.key == key), key=lambda event: event.at_ms)
        visits: list[list[Expected]] = []
        last_ms = -TIMEOUT_MS
        for event in own:
            if event.is_passive:  # it belongs to the visit before it and prolongs nothing
                visits[-1].append(event)
                continue
            if event.at_ms > last_ms + TIMEOUT_MS:
                visits.append([])
            visits[-1].append(event)
            last_ms = event.at_ms
        found += [_session(visit) for visit in visits]
    return sorted(found)


def _session(events: list[Expected]) -> ExpectedSession:
    page = next((event.page_url for event in events if event.page_url), "")
    tags = parse_qs(urlsplit(page).query)
    utm = [tags.get(f"utm_{name}", [""])[0] for name in ("source", "medium", "campaign")]
    return ExpectedSession(events[0].key, events[0].at_ms, len(events), *utm)
