"""What producers write to the source topic: events, contexts, repeats, rubbish, at a pace that comes and goes."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from tests.simulation.plan import Plan
from tracker.kafka.clients import partition_for_key

EVENT_TYPES = ("pageview", "click", "scroll", "form_submit", "conversion")
RUBBISH = (b"", b"\xff\x00", b"{}", b'{"type":"event"}', b'{"type":"event","session_id":"x","timestamp":"no"}', b"[1]")
#: What a record is, and how often.
KINDS = ("rubbish", "session", "expire", "flush", "repeat", "passive", "event")
KIND_WEIGHTS = (5, 7, 3, 2, 8, 5, 70)
#: How many of the last events a producer may send again.
RESENT = 40
#: Of the repeats, the share that comes again under its id with another content: another event.
REUSED_SHARE = 0.2
VISITOR_SHARE = 0.2


@dataclass(slots=True)
class Sending:
    """One record that is about to be appended."""

    at_seconds: float
    partition: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Traffic:
    """All that one run sends, and what has to become of it."""

    sendings: list[Sending] = field(default_factory=list)
    #: Event ids that have to come out, and how often each was sent.
    event_ids: Counter[str] = field(default_factory=Counter)


def traffic_of(plan: Plan, rng: Random) -> Traffic:
    """Write the whole run's traffic."""
    traffic = Traffic()
    keys = [f"k{number}" for number in range(plan.keys)]
    mean_gap = plan.duration_seconds / plan.records
    recent: list[tuple[str, str, bytes]] = []
    at = 0.0
    burst = 0
    for number in range(plan.records):
        if burst:
            burst -= 1
        elif rng.random() < 0.1:
            burst = rng.randint(2, 15)
        else:
            at += rng.expovariate(1 / mean_gap)
        key = rng.choice(keys) if rng.random() < 0.7 else keys[0]
        key, value = _record(traffic, rng, recent, key, number)
        raw = key.encode()
        partition = partition_for_key(raw, plan.partitions)
        if rng.random() < plan.misplaced_probability:
            partition = rng.randrange(plan.partitions)
        traffic.sendings.append(Sending(at, partition, raw, value))
    return traffic


def _record(
    traffic: Traffic, rng: Random, recent: list[tuple[str, str, bytes]], key: str, number: int
) -> tuple[str, bytes]:
    kind = rng.choices(KINDS, KIND_WEIGHTS)[0]
    if kind == "rubbish":
        return key, rng.choice(RUBBISH)
    if kind == "repeat" and recent:
        event_id, of_key, value = rng.choice(recent)
        traffic.event_ids[event_id] += 1
        return of_key, _with_other_content(value, number) if rng.random() < REUSED_SHARE else value
    if kind in ("session", "expire", "flush"):
        return key, _control(rng, kind, key)
    event: dict[str, Any] = {"event_type": rng.choice(EVENT_TYPES)} | _workspace(rng)
    if kind == "passive":
        return key, _value("event", key, event | {"event_id": f"p{number}"}, {"passive": True})
    if rng.random() < 0.9:
        event["event_id"] = f"e{number}"
        traffic.event_ids[event["event_id"]] += 1
    value = _value("event", key, event, _visitor(rng))
    if "event_id" in event:
        recent.append((event["event_id"], key, value))
        del recent[:-RESENT]
    return key, value


def _control(rng: Random, kind: str, key: str) -> bytes:
    data: dict[str, Any] = {} if kind == "flush" else _workspace(rng)
    if kind != "session":
        return _value(kind, key, data)
    data |= {"user_id": rng.choice(("u1", "u2")), "campaign_id": rng.choice(("c1", "c2"))}
    if rng.random() < 0.3:
        data["timeout_seconds"] = rng.choice((2, 5, 30))
    return _value(kind, key, data, _visitor(rng) | ({"open_only": True} if rng.random() < 0.3 else {}))


def _with_other_content(value: bytes, number: int) -> bytes:
    record = orjson.loads(value)
    record["data"]["event_value"] = str(number)
    return orjson.dumps(record)


def _workspace(rng: Random) -> dict[str, Any]:
    return {"workspace_id": rng.choice(("w1", "w2"))} if rng.random() < 0.3 else {}


def _visitor(rng: Random) -> dict[str, Any]:
    if rng.random() >= VISITOR_SHARE:
        return {}
    visitor = {"city": rng.choice(("Köln", "Bonn", "")), "utm_source": rng.choice(("mail", "ads", ""))}
    return {"visitor_id": visitor["city"], "visitor": visitor}


def _value(kind: str, key: str, data: dict[str, Any], envelope: dict[str, Any] | None = None) -> bytes:
    record = {"type": kind, "session_id": key, "timestamp": "2026-01-01T00:00:00Z", "data": data}
    return orjson.dumps(record | (envelope or {}))
