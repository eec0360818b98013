"""Long logs of few keys, in which each rule meets every other: the written rules, the counts, and cuts anywhere.

The same logs in every run: chance writes them, but from a fixed seed.
"""

import random
from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import Any, get_args

import pytest

from tests.property.session_logs import ELSEWHERE, MISPLACED_KEY, OLD_KEY, RULES, write
from tests.reference.compare import fold_differences, table_differences
from tests.reference.model import Model
from tests.sessions_log import MINUTE_MS, Log, rows
from topics.dead_letter import CREATE_TIME
from topics.headers import FORWARD_SEAL, FORWARDED_FROM, RETRY_COUNT, SKIPPED, TRACEPARENT, UNDECODABLE, LogPlace
from topics.session import CloseReason
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.layouts import decode_usage, encode_usage
from tracker.sessions.outputs import Counts, FoldResult
from tracker.sessions.rules import Rules
from tracker.sessions.state import FORGOTTEN, UsageMark

RECORDS = 300
SEEDS = (1, 2)
KINDS = ["event"] * 12 + ["session"] * 5 + ["expire", "flush", "garbage", "tick", "tick"]
KEYS = ["a"] * 6 + ["b", OLD_KEY, MISPLACED_KEY]
#: Half of their records were forwarded from another partition: what belongs here, and what belongs there after all.
FORWARDED_KEYS = {b"b", MISPLACED_KEY.encode()}
GAPS_MS = [0] * 6 + [1, 1_000, 5_000, 20_000, 20_000, 30_000, MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1, -MINUTE_MS]
LONG_GAPS_MS = [*GAPS_MS, 4 * MINUTE_MS, 12 * MINUTE_MS]
EVENT_IDS = [None, *"mnopqrstuvwxyz"]
#: What data may say: an empty value says nothing.
CONTEXT: dict[str, list[str]] = {
    "user_id": ["u1", "Zoë", ""],
    "workspace_id": ["w1", "w1", "w2", ""],
    "campaign_id": ["c1", "c2"],
    "project_id": ["p1"],
    "landing_page_id": ["l1", ""],
    "ab_test_id": ["t1", ""],
    "ab_test_variant_id": ["v1", ""],
    "environment": ["test"],
}
VISITOR: dict[str, list[Any]] = {
    "city": ["Köln", ""],
    "is_bot": [True, False],
    "utm_source": ["mail", "ads", ""],
    "click_id": ["1", "2"],
}
ENVELOPE: dict[str, list[Any]] = {
    "workspace_id": ["w1", "w1", "w2", ""],
    "visitor_id": ["v1", "v2", ""],
    "passive": [True],
    "open_only": [True],
}
HEADERS = [
    (RETRY_COUNT, b"2"),
    (RETRY_COUNT, b"x"),
    (TRACEPARENT, b"0" * 55),
    (UNDECODABLE, b"zstd"),
    (SKIPPED, b"too long"),
    (FORWARDED_FROM, b"0:7"),
]
COUNTED = replace(RULES, usage_interval_ms=MINUTE_MS)
TIGHT = replace(COUNTED, max_events=5, max_context_bytes=24, page_events=1, duplicate_window_ms=MINUTE_MS)
CASES = [
    COUNTED,
    replace(COUNTED, campaign_change="split", page_events=64),
    replace(COUNTED, renewal_context="identity", campaign_change="split", closed_stub_retention_ms=MINUTE_MS),
    replace(COUNTED, renewal_context="none", forgotten_retention_ms=MINUTE_MS),
    TIGHT,
    replace(TIGHT, renewal_context="identity", max_length_ms=MINUTE_MS, passive_grace_ms=0),
    replace(TIGHT, closed_stub_retention_ms=0, forgotten_retention_ms=1, campaign_change="split"),
    replace(RULES, keys_are_used=True, max_length_ms=2 * MINUTE_MS),
]
#: The written rules are those of this release.
BESIDE_0_1_0 = replace(RULES, layout=2, max_events=9)


def some(chance: random.Random, fields: dict[str, list[Any]], share: float) -> dict[str, Any]:
    """Each field with this probability."""
    return {name: chance.choice(values) for name, values in fields.items() if chance.random() < share}


def step(chance: random.Random) -> tuple[Any, ...]:
    """One record, as ``session_logs.write`` takes it."""
    kind, key = chance.choice(KINDS), chance.choice(KEYS)
    says_little = chance.random() < 0.6
    context = some(chance, CONTEXT, 0.03 if says_little else 0.3)
    envelope = some(chance, ENVELOPE, 0.03 if says_little else 0.25)
    visitor = None if chance.random() < 0.7 else some(chance, VISITOR, 0.4)
    if kind == "session":
        consent = {"consent_analytics": chance.choice(["granted", "denied"])} if chance.random() < 0.2 else {}
        return kind, key, chance.choice([None, None, 1, 120]), context | consent, visitor, 0, envelope
    if kind == "event":
        return kind, key, chance.choice(EVENT_IDS), context, visitor, chance.choice([0, 0, 0, 3]), envelope
    if kind == "expire":
        return kind, key, chance.choice([None, None, "w1", "w2"]), envelope
    return kind, key


def long_log(rules: Rules, seed: int) -> Log:
    chance = random.Random(seed)
    gaps = LONG_GAPS_MS if seed % 2 else GAPS_MS
    steps = [
        (step(chance), chance.choice(gaps), [chance.choice(HEADERS)] if chance.random() < 0.1 else [])
        for _ in range(RECORDS)
    ]
    log = write(steps, rules)
    for at, record in enumerate(log.records):
        if chance.random() < 0.02:
            log.records[at] = record._replace(timestamp_type=CREATE_TIME)
        elif record.key in FORWARDED_KEYS and chance.random() < 0.5:
            place = LogPlace(ELSEWHERE, at - chance.choice([0, 0, 30]))
            seal = ForwardSeal().of(place, record.key, record.value)
            log.records[at] = record._replace(headers=((FORWARDED_FROM, place.encode()), (FORWARD_SEAL, seal)))
    return log


judged_logs = pytest.mark.parametrize(("rules", "seed"), [(rules, seed) for rules in CASES for seed in SEEDS])
logs = pytest.mark.parametrize(("rules", "seed"), [(rules, seed) for rules in [*CASES, BESIDE_0_1_0] for seed in SEEDS])


@judged_logs
def test_the_fold_makes_of_a_long_log_what_the_written_rules_say(rules: Rules, seed: int):
    log = long_log(rules, seed)
    result = log.fold()
    model = Model(rules, log.number, log.partition_of).take(log.records)
    assert fold_differences(model, result) == []
    assert table_differences(model, {key: stored.state for key, stored in log.table.items()}) == []


@judged_logs
def test_what_is_counted_is_what_has_come_out(rules: Rules, seed: int):
    log = long_log(rules, seed)
    result = log.fold()
    counts, told = result.counts, rows(result.sessions)
    assert counts.accounted == counts.records == RECORDS
    assert counts.events == len(rows(result.events))
    assert counts.flushes == len(result.events) - len(rows(result.events)) - counts.closed.get("expired", 0)
    assert counts.forwarded == len(result.forwards)
    assert counts.rejected == Counter(letter["reason"] for letter in rows(result.dead_letters))
    assert counts.retried == sum(RETRY_COUNT in dict(output.headers) for output in result.events)
    assert counts.closed == Counter(row["close_reason"] for row in told if row["version"] % 4 == 1)
    assert counts.late == sum(row["version"] % 4 == 2 for row in told)
    assert counts.opened == len({(row["workspace_id"], row["session_id"], row["created_at"]) for row in told})
    assert counts.rows_added - counts.rows_removed == len(log.table)
    left = sum(stored.state.close_reason == FORGOTTEN for stored in log.table.values())
    assert counts.stubs_removed >= left


@logs
def test_a_long_log_gives_the_same_wherever_it_is_cut_and_whoever_goes_on(rules: Rules, seed: int):
    whole, cut, chance = long_log(rules, seed), long_log(rules, seed), random.Random(seed)
    wanted, found, usage = whole.fold(), [], (-1, UsageMark())
    for upto in [*sorted(chance.sample(range(RECORDS), 20)), RECORDS]:
        found.append(cut.fold(upto))
        if found[-1].usage_offset >= 0:
            usage = found[-1].usage_offset, decode_usage(encode_usage(0, found[-1].usage_mark))
        if chance.random() < 0.5:
            cut.recover()
            cut.partition.usage.resume(*usage)
    for output in ("events", "sessions", "dead_letters", "usage", "forwards"):
        assert list(chain.from_iterable(getattr(result, output) for result in found)) == getattr(wanted, output)
    assert cut.encoded_table() == whole.encoded_table()
    assert cut.pages == whole.pages
    assert total(found) == wanted.counts


def test_in_long_logs_everything_happens():
    counts = total([long_log(rules, seed).fold() for rules in CASES for seed in SEEDS])
    assert [name for name in Counts.__slots__ if not getattr(counts, name)] == ["already_applied"]
    assert counts.closed.keys() == set(get_args(CloseReason))
    assert counts.rejected.keys() >= {"untimed", "undecodable", "skipped", "misrouted", "not_json"}


def total(results: list[FoldResult]) -> Counts:
    """What was counted in all of them."""
    found = Counts()
    for counts in (result.counts for result in results):
        for name in Counts.__slots__:
            before, more = getattr(found, name), getattr(counts, name)
            setattr(found, name, Counter(before) + Counter(more) if isinstance(more, dict) else before + more)
    return found
