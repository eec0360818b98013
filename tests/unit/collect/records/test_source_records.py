"""Bodies become records that the processor's decoder takes, or rejections that say why."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.collect.records.requests import NOW, NOW_MS, context, event, events, refused, session
from topics.codec import MAX_SOURCE_VALUE_BYTES, decode_source
from topics.event import EVENT_TYPES, EventInput
from topics.metadata import MAX_METADATA_CHARS
from topics.session import SessionInput
from tracker.collect.errors import RequestError
from tracker.collect.records.json_body import parse_object
from tracker.collect.records.source_records import EncodedRecord, control_record, event_record, session_record

CLICK = {"event_type": "click"}


def test_flat_fields_become_an_event_record_keyed_by_the_session():
    record = event({"session_id": "sé", "timestamp": NOW, "event_type": "click", "event_id": "e1", "page_url": "/"})
    assert record.key == "sé".encode()
    assert orjson.loads(record.value) == {
        "type": "event",
        "session_id": "sé",
        "timestamp": NOW,
        "data": {"event_type": "click", "event_id": "e1", "page_url": "/"},
    }
    assert (record.session_id, record.event_id, record.sets_cookie) == ("sé", "e1", False)


@pytest.mark.parametrize("body", [{"event_type": "click"}, {"event_type": "click", "event_id": ""}])
def test_what_is_missing_is_minted(body):
    record = event(body)
    value = orjson.loads(record.value)
    assert value["timestamp"] == NOW
    assert value["data"]["event_id"] == record.event_id
    assert {record.event_id, record.session_id} == {"minted-1", "minted-2"}
    assert record.sets_cookie


def test_the_cookie_names_the_session_when_the_body_does_not():
    assert event({"event_type": "click"}, offered_session_id="from-cookie").session_id == "from-cookie"
    named = event({"event_type": "click", "session_id": "from-body"}, offered_session_id="from-cookie")
    assert (named.session_id, named.sets_cookie) == ("from-body", False)


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
        (
            {"event_type": "click", "timestamp": "yesterday"},
            "timestamp",
        ),
        ({"event_type": "click", "timestamp": "1999-12-31T23:59:59Z"}, "timestamp"),
    ],
)
def test_an_invalid_event_is_refused_with_the_field_as_the_client_knows_it(body, place):
    error = refused(body)
    assert (error.code, error.status) == ("invalid", 400)
    assert error.reasons[0].startswith(f"{place}: ")


def test_the_reason_is_that_of_the_time_as_it_was_sent():
    assert refused({**CLICK, "timestamp": "soon"}).reasons == (
        "timestamp: Input should be a valid datetime, input is too short",
    )


def test_a_wrong_clock_is_corrected_by_when_the_request_was_sent_and_its_own_word_kept():
    # The client is an hour ahead; the event happened 90 s before it was sent.
    body = {"event_type": "click", "timestamp": "2026-01-02T05:02:35.678+01:00", "sent_at": "2026-01-02T04:04:05.678Z"}
    value = orjson.loads(event(body).value)
    assert (value["timestamp"], value["client_timestamp"]) == ("2026-01-02T03:02:35.678Z", body["timestamp"])
    listed = events({"batch": [{"event_type": "click", "timestamp": body["timestamp"]}], "sent_at": body["sent_at"]})
    [record] = listed.records
    assert orjson.loads(record.value)["timestamp"] == "2026-01-02T03:02:35.678Z"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2026-01-02T03:04:05.678Z", None),
        ("2026-01-01T04:00:00Z", None),
        ("2025-12-31T00:00:00.000Z", "2026-01-01T03:04:05.000Z"),
        ("2099-01-01T00:00:00.000Z", "2026-01-02T03:09:05.999Z"),
        ("2000-06-01T00:00:00+02:00", "2026-01-01T03:04:05.000Z"),
    ],
)
def test_a_time_far_from_the_present_is_moved_and_the_clients_own_is_kept(said, kept):
    for value in (event({"event_type": "click", "timestamp": said}), session({"user_id": "u", "timestamp": said})):
        record = orjson.loads(value.value)
        assert record["timestamp"] == (kept or said)
        assert record.get("client_timestamp") == (None if kept is None else said)


def test_a_clock_before_the_year_2000_is_corrected_and_not_kept():
    body = {"event_type": "click", "timestamp": "1970-01-01T00:00:10Z", "sent_at": "1970-01-01T00:01:10Z"}
    value = orjson.loads(event(body).value)
    assert (value["timestamp"], "client_timestamp" in value) == ("2026-01-02T03:03:05.678Z", False)


@pytest.mark.parametrize("sent_at", [None, 12, "soon", ""])
def test_a_sending_time_that_is_none_is_refused(sent_at):
    assert refused({"event_type": "click", "sent_at": sent_at}).reasons[0].startswith("sent_at: ")


def test_the_keys_workspace_is_filled_in_and_can_be_repeated_but_not_contradicted():
    owned = {"workspace_id": "w1", "project_id": "p1"}
    for body in ({}, {"workspace_id": "w1"}, {"workspace_id": "", "project_id": "p1"}):
        record = orjson.loads(event({"event_type": "click", **body}, **owned).value)
        assert (record["workspace_id"], "workspace_id" in record["data"]) == ("w1", False)
        assert record["data"]["project_id"] == "p1"
    error = refused({"event_type": "click", "workspace_id": "w2"}, **owned)
    assert (error.message, error.reasons) == (
        "this is not a valid event",
        ("workspace_id: is not the write key's own",),
    )
    assert refused({"event_type": "click", "project_id": "p2"}, **owned).code == "invalid"


def test_an_anonymous_event_names_no_user():
    record = event({"event_type": "click", "user_id": "u"}, is_anonymous=True)
    assert "user_id" not in orjson.loads(record.value)["data"]


def test_the_visitor_is_spliced_into_what_the_decoder_takes():
    body = {
        "event_type": "pageview",
        "page_url": "https://shop.example/?utm_source=mail",
        "referrer_url": "https://a.b/",
    }
    record = event_record(dict(body), context(browser=b'"browser":"Firefox"'))
    decoded = decode_source(record.key, record.value)
    assert decoded["visitor"] == {"browser": "Firefox", "utm_source": "mail", "referrer_host": "a.b"}


def test_a_session_tells_of_its_visitor_only_with_the_page_where_it_began():
    with_browser = context(browser=b'"browser":"Firefox"')
    for page, expected in (({}, False), ({"page_url": "https://shop.example/"}, True)):
        record = session_record({"user_id": "u", **page}, with_browser)
        assert ("visitor" in orjson.loads(record.value)) == expected
        assert "page_url" not in orjson.loads(record.value)["data"]


def test_a_record_that_grows_too_large_by_its_visitor_is_refused():
    text = "\u0001" * 10_850
    with pytest.raises(RequestError) as caught:
        event_record(
            {"event_type": "click", "metadata": text, "event_id": "e"},
            context(browser=b'"a":"' + b"x" * 500 + b'"'),
        )
    assert (caught.value.code, caught.value.message) == ("oversized", "this event is too large")


def test_a_record_with_its_visitor_may_be_as_large_as_the_topic_takes():
    fields = {"event_type": "click", "event_id": "e", "session_id": "s"}
    room = MAX_SOURCE_VALUE_BYTES - len(event_record(dict(fields), context(browser=b'"a":""')).value)
    full = event_record(dict(fields), context(browser=b'"a":"' + b"x" * room + b'"'))
    assert len(full.value) == MAX_SOURCE_VALUE_BYTES
    with pytest.raises(RequestError) as caught:
        event_record(dict(fields), context(browser=b'"a":"' + b"x" * (room + 1) + b'"'))
    assert caught.value.reasons == (f"{MAX_SOURCE_VALUE_BYTES + 1} bytes; the limit is {MAX_SOURCE_VALUE_BYTES}",)


def test_of_whom_nothing_is_known_there_is_no_visitor():
    assert "visitor" not in orjson.loads(event(CLICK, browser=b"").value)


@pytest.mark.parametrize(
    ("is_anonymous", "clicked"), [(False, {"click_id": "abc", "click_id_type": "gclid"}), (True, {})]
)
def test_an_anonymous_visitor_has_no_click_id(is_anonymous, clicked):
    body = {**CLICK, "page_url": "https://shop.example/?gclid=abc&utm_source=mail"}
    record = orjson.loads(event(body, browser=b'"browser":"Firefox"', is_anonymous=is_anonymous).value)
    assert record["visitor"] == {"browser": "Firefox", "utm_source": "mail", **clicked}


@pytest.mark.parametrize("page_url", [7, ["https://shop.example/"], {"a": "b"}])
def test_a_page_that_is_no_text_is_refused_before_anything_is_read_from_it(page_url):
    error = refused({**CLICK, "page_url": page_url}, browser=b'"browser":"Firefox"')
    assert error.reasons == ("page_url: Input should be a valid string",)


def test_an_object_as_metadata_becomes_its_canonical_text():
    record = orjson.loads(event({**CLICK, "metadata": {"b": 1, "a": [True, None]}}).value)
    assert record["data"]["metadata"] == '{"a":[true,null],"b":1}'


@pytest.mark.parametrize("field", ["session_id", "user_id"])
@pytest.mark.parametrize("mistake", ["undefined", "{{ id }}", "[object Object]"])
def test_a_session_with_an_id_that_is_a_mistake_is_refused_by_its_name(field, mistake):
    error = refused({"session_id": "s", field: mistake}, session)
    assert (error.message, [reason.partition(": ")[0] for reason in error.reasons]) == (
        "this is not a valid session",
        [field],
    )


def test_a_session_that_grows_too_large_by_its_visitor_is_refused():
    with pytest.raises(RequestError) as caught:
        session_record({"page_url": "https://shop.example/"}, context(browser=b'"a":"' + b"x" * 70_000 + b'"'))
    assert (caught.value.code, caught.value.message) == ("oversized", "this session is too large")


def test_the_page_where_a_session_began_tells_of_its_visitor():
    page = {"page_url": "https://shop.example/?utm_source=mail", "referrer_url": "https://search.example/"}
    record = orjson.loads(session_record(page, context(browser=b'"browser":"Firefox"')).value)
    assert record["visitor"] == {"browser": "Firefox", "utm_source": "mail", "referrer_host": "search.example"}


@pytest.mark.parametrize("page", [{"page_url": 7}, {"page_url": ["https://shop.example/"], "referrer_url": {"a": 1}}])
def test_a_page_that_is_no_text_tells_nothing(page):
    record = orjson.loads(session_record(dict(page), context(browser=b'"browser":"Firefox"')).value)
    assert (record["visitor"], record["data"]) == ({"browser": "Firefox"}, {})


@pytest.mark.parametrize(("workspace_id", "owner"), [("", {}), ("w1", {"workspace_id": "w1"})])
@pytest.mark.parametrize("type_", ["expire", "flush"])
def test_the_end_and_the_flush_of_a_session_are_records_of_its_key(type_, workspace_id, owner):
    record = control_record(type_, "sé", NOW_MS, workspace_id)
    expected = {"type": type_, "session_id": "sé", "timestamp": NOW, **owner}
    assert orjson.loads(record.value) == expected
    assert record == EncodedRecord("sé".encode(), record.value, "sé", None, sets_cookie=False)
    assert decode_source(record.key, record.value)["type"] == type_


def test_each_fault_is_a_reason_of_its_own():
    error = refused({**CLICK, "viewport_width": "wide", "scroll_percentage": 101})
    assert error.message == "this is not a valid event"
    assert [reason.partition(": ")[0] for reason in error.reasons] == ["scroll_percentage", "viewport_width"]


def test_reasons_do_not_repeat_values():
    assert "hunter2" not in str(refused({"event_type": "hunter2", "viewport_width": "hunter2"}).reasons)


@pytest.mark.parametrize("depth", [200, 300, 1_000])
def test_deep_nesting_is_refused(depth):
    nested: object = "x"
    for _ in range(depth // 2):
        nested = [nested]
    body = b'{"event_type":"click","metadata":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RequestError) as caught:
        event_record(parse_object(body), context())
    assert caught.value.status == 400


def test_a_record_larger_than_the_topic_takes_is_refused_as_oversized():
    # Each of these characters is one character of text, but twelve bytes of JSON at the most.
    text = "\u0001" * MAX_METADATA_CHARS
    assert len(orjson.dumps(text)) > MAX_SOURCE_VALUE_BYTES
    error = refused({"event_type": "click", "metadata": text})
    assert (error.code, error.status, error.message) == ("oversized", 413, "this event is too large")
    (reason,) = error.reasons
    assert str(MAX_SOURCE_VALUE_BYTES) in reason


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
        fields = parse_object(body)
        make = session_record if is_session else event_record
        encoded = make(fields, context(cookie))
    except RequestError:
        return  # any other exception fails the test
    record = decode_source(encoded.key, encoded.value)
    assert record["type"] == ("session" if is_session else "event")
    assert record["session_id"] == encoded.session_id
    if record["type"] == "event":
        assert record["data"]["event_id"] == encoded.event_id


@pytest.mark.parametrize("passive", [True, False])
def test_an_event_says_in_its_envelope_that_the_visitor_did_nothing(passive: bool):
    record = orjson.loads(event({"event_type": "scroll", "passive": passive}).value)
    assert (record["passive"], "passive" in record["data"]) == (passive, False)
    assert "passive" not in orjson.loads(event({"event_type": "scroll"}).value)


def test_passive_is_yes_or_no():
    assert refused({"event_type": "scroll", "passive": "yes"}).reasons == ("passive: Input should be a valid boolean",)


@pytest.mark.parametrize("owns", [True, False])
def test_a_session_record_of_who_does_not_own_the_session_may_only_open_it(owns: bool):
    fields = parse_object(orjson.dumps({"session_id": "s1", "user_id": "u"}))
    record = orjson.loads(session_record(fields, context(owns=lambda session_id: owns and session_id == "s1")).value)
    assert record.get("open_only", False) == (not owns)


# The visitor across sessions


@pytest.mark.parametrize("make", [event, session])
def test_a_body_may_say_who_it_is_across_sessions(make):
    record = orjson.loads(make({**({"event_type": "click"} if make is event else {}), "visitor_id": "v1"}).value)
    assert record["visitor_id"] == "v1"
    assert "visitor_id" not in record["data"]


def test_the_cookies_visitor_counts_where_the_body_names_none():
    for body, found in (({}, "cookie"), ({"visitor_id": ""}, "cookie"), ({"visitor_id": "v1"}, "v1")):
        assert orjson.loads(event({**CLICK, **body}, visitor_id="cookie").value)["visitor_id"] == found


def test_every_event_of_a_batch_has_its_visitor():
    listed = events({"batch": [CLICK, {**CLICK, "visitor_id": "v1"}]}, visitor_id="cookie")
    assert [orjson.loads(record.value)["visitor_id"] for record in listed.records] == ["cookie", "v1"]


def test_who_is_not_known_has_no_id():
    assert "visitor_id" not in orjson.loads(event({**CLICK, "visitor_id": ""}).value)


def test_an_anonymous_visitor_has_no_id():
    record = orjson.loads(event({**CLICK, "visitor_id": "v1"}, is_anonymous=True).value)
    assert "visitor_id" not in record


@pytest.mark.parametrize("wrong", ["undefined", "[object Object]", "{{ visitor }}", None, 7, "v" * 129])
def test_a_visitor_id_that_is_none_is_refused_by_its_name(wrong):
    error = refused({**CLICK, "visitor_id": wrong})
    assert (error.code, error.message) == ("invalid", "this is not a valid event")
    assert error.reasons[0].startswith("visitor_id: ")
