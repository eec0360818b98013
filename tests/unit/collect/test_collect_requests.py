"""Bodies become records that the processor's decoder takes, or rejections that say why."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import MAX_SOURCE_VALUE_BYTES, decode_source
from topics.event import EVENT_TYPES, EventInput
from topics.fields import MAX_METADATA_CHARS
from topics.session import SessionInput
from tracker.collect.errors import RequestError
from tracker.collect.records import body as bodies
from tracker.collect.records import build as requests

NOW = "2026-01-02T03:04:05.678Z"
NOW_MS = 1_767_323_045_678
DEFAULT_SECONDS = 1_800


def context(cookie: str | None = None) -> requests.Context:
    ids = iter(f"minted-{number}" for number in range(1, 100))
    return requests.Context(NOW_MS, lambda: next(ids), cookie)


def event(body: object, cookie: str | None = None) -> requests.Outgoing:
    fields = bodies.parse_object(orjson.dumps(body))
    return requests.event_record(fields, context(cookie)._replace(sent_at=requests.taken_sent_at(fields)))


def session(body: object, default_seconds: int = DEFAULT_SECONDS) -> requests.Outgoing:
    fields = bodies.parse_object(orjson.dumps(body))
    return requests.session_record(fields, context(), default_timeout_seconds=default_seconds)


def refused(body: object, make=event) -> RequestError:
    with pytest.raises(RequestError) as caught:
        make(body)
    return caught.value


def test_flat_fields_become_an_event_record_keyed_by_the_session():
    record = event({"session_id": "sé", "timestamp": NOW, "event_type": "click", "event_id": "e1", "page_url": "/"})
    assert record.key == "sé".encode()
    assert orjson.loads(record.value) == {
        "type": "event",
        "session_id": "sé",
        "timestamp": NOW,
        "data": {"event_type": "click", "event_id": "e1", "page_url": "/"},
    }
    assert (record.session_id, record.event_id, record.cookie) == ("sé", "e1", False)


@pytest.mark.parametrize("body", [{"event_type": "click"}, {"event_type": "click", "event_id": ""}])
def test_what_is_missing_is_minted(body):
    record = event(body)
    value = orjson.loads(record.value)
    assert value["timestamp"] == NOW
    assert value["data"]["event_id"] == record.event_id
    assert {record.event_id, record.session_id} == {"minted-1", "minted-2"}
    assert record.cookie


def test_the_cookie_names_the_session_when_the_body_does_not():
    assert event({"event_type": "click"}, cookie="from-cookie").session_id == "from-cookie"
    named = event({"event_type": "click", "session_id": "from-body"}, cookie="from-cookie")
    assert (named.session_id, named.cookie) == ("from-body", False)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "event_type"),
        ({"event_type": "hover"}, "event_type"),
        ({"event_type": "click", "colour": "red"}, "colour"),
        ({"event_type": "click", "session_event_sequence": 7}, "session_event_sequence"),
        ({"event_type": "click", "type": "expire"}, "type"),
        ({"event_type": "click", "data": {}}, "data"),
        ({"event_type": "click", "scroll_percentage": "12"}, "scroll_percentage"),
        ({"event_type": "click", "scroll_percentage": 101}, "scroll_percentage"),
        ({"event_type": "click", "viewport_width": 1.5}, "viewport_width"),
        ({"event_type": "click", "event_id": None}, "event_id"),
        ({"event_type": "click", "session_id": None}, "session_id"),
        ({"event_type": "click", "session_id": 12}, "session_id"),
        ({"event_type": "click", "session_id": ""}, "session_id"),
        ({"event_type": "click", "session_id": "a b"}, "session_id"),
        ({"event_type": "click", "session_id": "x" * 129}, "session_id"),
        ({"event_type": "click", "timestamp": "yesterday"}, "timestamp"),
        ({"event_type": "click", "timestamp": "1999-12-31T23:59:59Z"}, "timestamp"),
    ],
)
def test_an_invalid_event_is_refused_with_the_field_as_the_client_knows_it(body, place):
    error = refused(body)
    assert (error.code, error.status) == ("invalid", 400)
    assert error.reasons[0].startswith(f"{place}: ")


def batch(body: dict, **changes) -> requests.Batch:
    changes["sent_at"] = requests.taken_sent_at(body)
    return requests.event_batch(body, context()._replace(**changes))


def test_a_bad_event_costs_its_neighbours_nothing():
    events = [{"event_type": "click", "event_id": "e0"}, {"event_type": "hover"}, 7, {"event_type": "scroll"}]
    results, records = batch({"batch": events})
    assert [result["status"] for result in results] == ["accepted", "rejected", "rejected", "accepted"]
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert results[0]["event_id"] == "e0"
    assert results[1]["reasons"][0].startswith("event_type: ")
    assert [record.event_id for record in records] == [results[0]["event_id"], results[3]["event_id"]]
    assert len({record.session_id for record in records}) == 1


@pytest.mark.parametrize("body", [{"batch": []}, {"batch": {}}, {"batch": [{}], "event_type": "click"}])
def test_what_is_no_batch_is_refused_as_a_whole(body):
    assert refused(body, batch).status == 400


def test_a_batch_beyond_the_limit_is_refused_as_oversized():
    events = [{"event_type": "click"} for _ in range(requests.MAX_BATCH_EVENTS + 1)]
    assert refused({"batch": events}, batch).status == 413


def test_a_wrong_clock_is_corrected_by_when_the_request_was_sent_and_its_own_word_kept():
    # The client is an hour ahead; the event happened 90 s before it was sent.
    body = {"event_type": "click", "timestamp": "2026-01-02T05:02:35.678+01:00", "sent_at": "2026-01-02T04:04:05.678Z"}
    value = orjson.loads(event(body).value)
    assert (value["timestamp"], value["client_timestamp"]) == ("2026-01-02T03:02:35.678Z", body["timestamp"])
    [record] = batch({"batch": [{"event_type": "click", "timestamp": body["timestamp"]}], "sent_at": body["sent_at"]})[
        1
    ]
    assert orjson.loads(record.value)["timestamp"] == "2026-01-02T03:02:35.678Z"


@pytest.mark.parametrize("sent_at", [None, 12, "soon", ""])
def test_a_sending_time_that_is_none_is_refused(sent_at):
    assert refused({"event_type": "click", "sent_at": sent_at}).reasons[0].startswith("sent_at: ")


def test_the_keys_workspace_is_filled_in_and_can_be_repeated_but_not_contradicted():
    owned = {"workspace_id": "w1", "project_id": "p1"}
    for body in ({}, {"workspace_id": "w1"}, {"workspace_id": "", "project_id": "p1"}):
        [record] = batch({"batch": [{"event_type": "click", **body}]}, **owned)[1]
        assert orjson.loads(record.value)["data"].items() >= owned.items()
    [result], records = batch({"batch": [{"event_type": "click", "workspace_id": "w2"}]}, **owned)
    assert (records, result["reasons"]) == ([], ("workspace_id: is not the write key's own",))
    assert batch({"batch": [{"event_type": "click", "project_id": "p2"}]}, **owned)[1] == []


def test_an_anonymous_event_names_no_user():
    [record] = batch({"batch": [{"event_type": "click", "user_id": "u"}]}, is_anonymous=True)[1]
    assert "user_id" not in orjson.loads(record.value)["data"]


def test_the_visitor_is_spliced_into_what_the_decoder_takes():
    body = {
        "event_type": "pageview",
        "page_url": "https://shop.example/?utm_source=mail",
        "referrer_url": "https://a.b/",
    }
    record = requests.event_record(dict(body), context()._replace(browser=b'"browser":"Firefox"'))
    decoded = decode_source(record.key, record.value)
    assert decoded["visitor"] == {"browser": "Firefox", "utm_source": "mail", "referrer_host": "a.b"}


def test_of_a_batch_the_first_event_of_each_session_that_is_taken_names_the_visitor():
    events = [
        {"session_id": "s1", "event_type": "nonsense"},
        {"session_id": "s1", "event_type": "click"},
        {"session_id": "s2", "event_type": "click"},
        {"session_id": "s1", "event_type": "click"},
        {"session_id": "s2", "event_type": "click"},
    ]
    _, records = batch({"batch": events}, browser=b'"browser":"Firefox"')
    assert [(record.session_id, b"Firefox" in record.value) for record in records] == [
        ("s1", True),
        ("s2", True),
        ("s1", False),
        ("s2", False),
    ]


def test_a_session_tells_of_its_visitor_only_with_the_page_where_it_began():
    with_browser = context()._replace(browser=b'"browser":"Firefox"')
    for page, expected in (({}, False), ({"page_url": "https://shop.example/"}, True)):
        record = requests.session_record({"user_id": "u", **page}, with_browser, default_timeout_seconds=1_800)
        assert ("visitor" in orjson.loads(record.value)) == expected
        assert "page_url" not in orjson.loads(record.value)["data"]


def test_a_record_that_grows_too_large_by_its_visitor_is_refused():
    text = "\u0001" * 10_900
    with pytest.raises(RequestError) as caught:
        requests.event_record(
            {"event_type": "click", "metadata": text, "event_id": "e"},
            context()._replace(browser=b'"a":"' + b"x" * 500 + b'"'),
        )
    assert caught.value.code == "oversized"


def test_reasons_do_not_repeat_values():
    assert "hunter2" not in str(refused({"event_type": "hunter2", "viewport_width": "hunter2"}).reasons)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"event_type":"\xff"}', b'{"a":NaN}', b'{"session_id":"\\ud800"}']
)
def test_what_is_not_json_in_utf_8_is_refused(body):
    with pytest.raises(RequestError) as caught:
        bodies.parse_object(body)
    assert (caught.value.code, caught.value.status) == ("not_json", 400)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_json_that_is_no_object_is_refused(body):
    with pytest.raises(RequestError) as caught:
        bodies.parse_object(body)
    assert (caught.value.code, caught.value.status) == ("invalid", 400)


@pytest.mark.parametrize("depth", [200, 300, 1_000])
def test_deep_nesting_is_refused(depth):
    nested: object = "x"
    for _ in range(depth // 2):
        nested = [nested]
    body = b'{"event_type":"click","metadata":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RequestError) as caught:
        requests.event_record(bodies.parse_object(body), context())
    assert caught.value.status == 400


def test_a_record_larger_than_the_topic_takes_is_refused_as_oversized():
    # Each of these characters is one character of text, but twelve bytes of JSON at the most.
    text = "\u0001" * MAX_METADATA_CHARS
    assert len(orjson.dumps(text)) > MAX_SOURCE_VALUE_BYTES
    error = refused({"event_type": "click", "metadata": text})
    assert (error.code, error.status) == ("oversized", 413)


@pytest.mark.parametrize("seconds", [300, 1_800])
def test_a_session_may_set_its_timeout_within_the_limits(seconds):
    record = session({"session_id": "s", "user_id": "u", "timeout_seconds": seconds})
    assert orjson.loads(record.value)["data"] == {"user_id": "u", "timeout_seconds": seconds}
    assert record.event_id is None


@pytest.mark.parametrize("seconds", [0, 299, 1_801])
def test_a_timeout_outside_the_limits_is_refused(seconds):
    error = refused({"timeout_seconds": seconds}, session)
    assert error.status == 400
    assert error.reasons[0].startswith("timeout_seconds: ")


@pytest.mark.parametrize(("default_seconds", "asked_seconds"), [(5, 5), (5, 299), (3_600, 3_600)])
def test_the_deployments_own_default_widens_the_limits(default_seconds, asked_seconds):
    assert session({"timeout_seconds": asked_seconds}, default_seconds).session_id


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "Application/JSON; charset=utf-8", "text/plain;charset=UTF-8"]
)
def test_json_and_what_beacons_send_are_taken(content_type):
    bodies.check_media_type(content_type)


@pytest.mark.parametrize("content_type", ["", "text/html", "application/x-www-form-urlencoded", "json"])
def test_other_media_types_are_refused(content_type):
    with pytest.raises(RequestError) as caught:
        bodies.check_media_type(content_type)
    assert caught.value.status == 415


def test_a_percent_encoded_id_in_a_path_is_decoded():
    assert requests.session_id_from_path("s%C3%A9%2F1") == "sé/1"


@pytest.mark.parametrize("raw", ["%ff", "%C3", "", "a%20b", "%00", "x" * 129])
def test_a_bad_id_in_a_path_is_refused(raw):
    with pytest.raises(RequestError) as caught:
        requests.session_id_from_path(raw)
    assert (caught.value.code, caught.value.status) == ("bad_session_id", 400)


def as_json(body: object) -> bytes:
    """Write what a broken client might, and orjson would not: NaN, huge integers, lone surrogates."""
    return json.dumps(body).encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*EVENT_TYPES, NOW, "2026-01-02", 0, 50, 100]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(
    [*EventInput.__annotations__, *SessionInput.__annotations__, "session_id", "timestamp", "type", "data"]
)
raw_bodies = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(names | st.text(max_size=5), json_values, max_size=5).map(as_json),
    st.dictionaries(names, json_values, max_size=3).map(lambda body: as_json({**body, "event_type": "click"})),
)


@given(body=raw_bodies, cookie=st.none() | st.just("from-cookie"), is_session=st.booleans())
def test_whatever_is_accepted_passes_the_processors_decoder(body, cookie, is_session):
    try:
        fields = bodies.parse_object(body)
        if is_session:
            outgoing = requests.session_record(fields, context(cookie), default_timeout_seconds=DEFAULT_SECONDS)
        else:
            outgoing = requests.event_record(fields, context(cookie))
    except RequestError:
        return  # any other exception fails the test
    record = decode_source(outgoing.key, outgoing.value)
    assert record["type"] == ("session" if is_session else "event")
    assert record["session_id"] == outgoing.session_id
    if record["type"] == "event":
        assert record["data"]["event_id"] == outgoing.event_id


@pytest.mark.parametrize("bad", [None, 0, 1, 2])
def test_a_batch_that_is_checked_as_a_whole_gives_the_records_of_its_events_one_by_one(bad: int | None):
    events = [{"session_id": f"s{n}", "event_id": f"e{n}", "event_type": "click", "timestamp": NOW} for n in range(3)]
    if bad is not None:
        events[bad]["scroll_percentage"] = 101
    browser = context()._replace(browser=b'"country":"AT"')
    batch = requests.event_batch({"batch": orjson.loads(orjson.dumps(events))}, browser)
    good = [requests.event_record(dict(one), browser) for n, one in enumerate(events) if n != bad]
    assert batch.records == good
    assert [result["status"] == "rejected" for result in batch.results] == [n == bad for n in range(3)]
