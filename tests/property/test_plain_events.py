"""Whatever is plain becomes the same record as on the general way, and nothing that is refused there is plain."""

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.collect.records.requests import NOW, NOW_MS, context
from topics.records import decode_record
from tracker.collect.records.event_list import event_list, events_in
from tracker.collect.records.event_time import iso_time
from tracker.collect.records.json_body import parse_object
from tracker.collect.records.plain_events import plain_records, plain_request
from tracker.collect.records.source_records import event_record, take_sent_at

IDS = st.sampled_from(["s1", "s-2", "ü", 'a"b\\', "undefined", "[object Object]", "x" * 129, "a b", "", None, 5])
TEXTS = st.sampled_from(["", "a", 'quote " and \\', "\u2028", "x" * 2_049, None, 1])
NUMBERS = st.sampled_from([0, 1, 100, 12.5, -1, 101, 1e300, True, "1", None])
UNUSUAL_TIMES = ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05.678Z", "2026-W01-5T03:04:05.678Z", "", "soon", None, 5]
FAR_TIMES = [f"{date}.{ms}Z" for ms in ("000", "999") for date in ("1970-01-01T00:00:10", "1999-12-31T23:59:59")]
TIMES = st.one_of(
    st.sampled_from([NOW, *UNUSUAL_TIMES, *FAR_TIMES, "2000-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"]),
    st.integers(NOW_MS - 300_000_000, NOW_MS + 300_000_000).map(iso_time),
)
FIELDS = {
    "session_id": IDS,
    "event_id": IDS,
    "user_id": IDS,
    "visitor_id": IDS,
    "workspace_id": st.sampled_from(["w1", "w2", "", None]),
    "project_id": st.sampled_from(["p1", "p2", "", None]),
    "timestamp": TIMES,
    "passive": st.sampled_from([True, False, None, 1]),
    "page_url": st.sampled_from(["https://a.example/?utm_source=mail", "", "x" * 2_049, 'https://a.example/"', None]),
    "referrer_url": TEXTS,
    "clicked_element": TEXTS,
    "scroll_percentage": NUMBERS,
    "viewport_width": NUMBERS,
    "page_load_time": NUMBERS,
    "metadata": st.sampled_from(["", "text", {"a": 1}, {}, None, [1]]),
    "schema": st.just("1-0-0"),
    "sent_at": TIMES,
    "batch": st.just([]),
    "unknown": st.just(1),
}
#: Most fields of most events are right, or few requests would be plain.
EVENTS = st.tuples(
    st.sampled_from(["click", "pageview", "click", "purchase", None]),
    st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
    ),
).map(lambda drawn: {"event_type": drawn[0], "timestamp": NOW, **drawn[1]})
BODIES = st.one_of(
    EVENTS,
    st.builds(lambda events: {"batch": events}, st.lists(EVENTS, max_size=4)),
    st.builds(lambda events, sent_at: {"sent_at": sent_at, "batch": events}, st.lists(EVENTS, max_size=4), TIMES),
)
CONTEXTS = st.fixed_dictionaries(
    {
        "offered_session_id": st.sampled_from([None, "cookie", "a b"]),
        "visitor_id": st.sampled_from(["", "v1"]),
        "workspace_id": st.sampled_from(["", "w1"]),
        "project_id": st.sampled_from(["", "p1"]),
        "browser": st.sampled_from([None, b"", b'"browser":"Firefox"']),
        "is_anonymous": st.booleans(),
    }
)


def on_the_general_way(body: bytes, given: dict):
    fields = parse_object(body)
    if "batch" not in fields:
        return [event_record(fields, context(**given, new_id=lambda: "minted", sent_at_ms=take_sent_at(fields)))]
    events = events_in(fields)
    return event_list(events, context(**given, new_id=lambda: "minted", sent_at_ms=take_sent_at(fields))).results


def plain(body: bytes, given: dict):
    request = plain_request(body, context(**given).rules)
    if request is None:
        return None
    return plain_records(request.events, context(**given, new_id=lambda: "minted", sent_at_ms=request.sent_at_ms))


def all_of(record):
    return decode_record(record.key, record.value), record.key, record.session_id, record.event_id, record.sets_cookie


@given(body=BODIES, given_=CONTEXTS)
@example({"event_type": "click"}, {})
@example({"batch": [{"event_type": "click"}, {"event_type": "click", "session_id": "s"}], "sent_at": NOW}, {})
def test_a_plain_event_becomes_the_record_of_the_general_way(body, given_):
    body = orjson.dumps(body)
    records = plain(body, given_)
    if records is not None:
        assert [*map(all_of, records)] == [*map(all_of, on_the_general_way(body, given_))]
