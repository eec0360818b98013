"""Which requests are plain, and that all others are left to the general way."""

import orjson
import pytest

from tests.unit.collect.records.requests import NOW, context
from tracker.collect.records.context import RecordRules
from tracker.collect.records.event_list import MAX_BATCH_EVENTS
from tracker.collect.records.personal_data import new_personal_data
from tracker.collect.records.plain_events import plain_records, plain_request

CLICK = {"event_type": "click", "session_id": "s", "timestamp": NOW, "clicked_element": "#buy", "viewport_width": 1280}
OWNED = {"workspace_id": "w1", "project_id": "p1"}


def records(body, **given):
    rules = given.get("rules") or RecordRules()
    request = plain_request(body if isinstance(body, bytes) else orjson.dumps(body), rules)
    if request is None:
        return None
    return plain_records(request.events, context(sent_at_ms=request.sent_at_ms, **given))


def values(body, **given):
    return [orjson.loads(record.value) for record in records(body, **given)]


@pytest.mark.parametrize("changes", [{}, OWNED, {"browser": b'"browser":"Firefox"'}, {"visitor_id": "v"}])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"passive": True, "visitor_id": "v2"},
        {"timestamp": None},
        {"timestamp": "2026-01-02T03:00:00.000Z", "event_id": "e", "user_id": "u", "metadata": "text"},
        {"workspace_id": "w1", "project_id": "p1", "page_url": "https://a.example/?utm_source=mail"},
    ],
)
def test_what_browsers_and_services_usually_send_is_plain(changes, more):
    event = {**CLICK, **more}
    for body in (event, {"batch": [event, CLICK]}, {**event, "sent_at": NOW}, {"sent_at": NOW, "batch": [event]}):
        found = records(body, **changes)
        assert found is not None
        assert [(record.key, record.session_id) for record in found] == [(b"s", "s")] * len(body.get("batch", [event]))
        assert plain_request(orjson.dumps(body), RecordRules()).is_batch is ("batch" in body)


@pytest.mark.parametrize(
    "more",
    [
        {"event_type": "purchase", "schema": "1-0-0", "properties": {}},
        {"metadata": {"a": 1}},
        {"session_id": ""},
        {"session_id": None},
        {"session_id": "a b"},
        {"session_id": "undefined"},
        {"event_id": "[object Object]"},
        {"user_id": "null"},
        {"visitor_id": "NaN"},
        {"visitor_id": None},
        {"workspace_id": "w2"},
        {"project_id": "p2"},
        {"timestamp": ""},
        {"timestamp": "2026-01-02T03:04:05Z"},
        {"timestamp": "2026-W01-5T03:04:05.678Z"},
        {"timestamp": "1999-12-31T23:59:59.999Z"},
        {"passive": 1},
        {"scroll_percentage": 101},
        {"sequence": 1},
    ],
)
def test_what_needs_a_second_look_goes_the_general_way(more):
    event = {**CLICK, **more}
    assert records(event, **OWNED) is None
    assert records({"batch": [CLICK, event]}, **OWNED) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"event_type":"click","clicked_element":"\xff"}',
        b'{"event_type":"click","clicked_element":"\\ud800"}',
        {"batch": []},
        {"batch": [CLICK] * (MAX_BATCH_EVENTS + 1)},
        {"batch": [{**CLICK, "sent_at": NOW}]},
        {"batch": [CLICK], "more": 1},
        {"batch": [CLICK], "sent_at": None},
        {**CLICK, "sent_at": "soon"},
    ],
)
def test_what_is_no_valid_request_goes_the_general_way(body):
    assert records(body) is None


def test_events_that_become_too_large_go_the_general_way():
    large = {**CLICK, "metadata": "\U0001f600" * 16_384}
    assert records(large) is None
    visitor = b'"user_agent":"' + b"x" * 70_000 + b'"'
    assert records(CLICK, browser=visitor) is None


def test_where_personal_data_is_taken_out_nothing_is_plain():
    rules = RecordRules(personal_data=new_personal_data("email", "", "keep", ""))
    assert records(CLICK, rules=rules) is None


def test_a_session_of_the_cookie_that_is_no_right_id_is_left_for_the_check():
    event = {"event_type": "click"}
    assert records(event, offered_session_id="a b") is None
    assert records(event, offered_session_id="x" * 129) is None
    assert records(event, offered_session_id="x" * 128) is not None


def test_events_that_name_no_session_share_one_and_the_first_of_each_session_carries_the_visitor():
    body = {"batch": [{"event_type": "click"}, CLICK, {"event_type": "scroll"}, CLICK]}
    found = records(body, browser=b'"browser":"Firefox"')
    assert [(record.session_id, record.sets_cookie) for record in found] == [
        ("minted-1", True), ("s", False), ("minted-1", True), ("s", False)
    ]  # fmt: skip
    assert ["visitor" in orjson.loads(record.value) for record in found] == [True, True, False, False]
    assert len({record.event_id for record in found}) == 4


def test_a_key_without_a_project_lets_events_name_any():
    [value] = values({**CLICK, "project_id": "p9"}, workspace_id="w1")
    assert (value["workspace_id"], value["data"]["project_id"]) == ("w1", "p9")


@pytest.mark.parametrize("referrer", [{}, {"referrer_url": None}, {"referrer_url": "https://search.example/?q=a"}])
def test_the_visitor_is_told_by_the_page_and_its_referrer(referrer):
    page = {"page_url": "https://shop.example/?utm_source=mail", **referrer}
    [value] = values({**CLICK, **page}, browser=b'"browser":"Firefox"')
    expected = {"browser": "Firefox", "utm_source": "mail"}
    assert value["visitor"] == expected | ({"referrer_host": "search.example"} if referrer.get("referrer_url") else {})


def test_the_envelope_has_what_the_key_the_cookie_and_the_clock_say():
    event = {**CLICK, "event_id": "e", "timestamp": "2026-01-02T04:02:35.678Z", "user_id": "u", "passive": True}
    [value] = values({**event, "sent_at": "2026-01-02T04:04:05.678Z"}, **OWNED, visitor_id="v")
    assert value == {
        "type": "event",
        "session_id": "s",
        "visitor_id": "v",
        "timestamp": "2026-01-02T03:02:35.678Z",
        "client_timestamp": "2026-01-02T04:02:35.678Z",
        "passive": True,
        "workspace_id": "w1",
        "data": {
            "event_id": "e",
            "user_id": "u",
            "project_id": "p1",
            "clicked_element": "#buy",
            "viewport_width": 1280,
            "event_type": "click",
        },
    }
    [anonymous] = values(event, visitor_id="v", is_anonymous=True)
    assert "visitor_id" not in anonymous
    assert "user_id" not in anonymous["data"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2026-01-02T03:04:05.678Z", None),
        ("2025-12-31T00:00:00.000Z", "2026-01-01T03:04:05.000Z"),
        ("2098-01-01T00:00:00.000Z", "2026-01-02T03:09:05.999Z"),
    ],
)
def test_without_a_sending_time_an_unlikely_time_is_moved(said, kept):
    [value] = values({**CLICK, "timestamp": said})
    assert (value["timestamp"], value.get("client_timestamp")) == (kept or said, said if kept else None)
    [value] = values({"event_type": "click"})
    assert value["timestamp"] == NOW
