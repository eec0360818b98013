"""Of several events each is judged by itself, and they share what a request says once."""

import orjson
import pytest

from tests.unit.collect.records.requests import NOW, context, events, refused
from tracker.collect.errors import RequestError
from tracker.collect.records.event_list import MAX_BATCH_EVENTS, event_list
from tracker.collect.records.source_records import event_record


def test_a_bad_event_costs_its_neighbours_nothing():
    sent = [{"event_type": "click", "event_id": "e0"}, {"event_type": "hover"}, 7, {"event_type": "scroll"}]
    listed = events({"batch": sent})
    assert [isinstance(result, RequestError) for result in listed.results] == [False, True, True, False]
    assert listed.results[1].reasons[0].startswith("event_type: ")
    assert listed.records[0].event_id == "e0"
    assert listed.records == [listed.results[0], listed.results[3]]
    assert len({record.session_id for record in listed.records}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"batch": []},
        {"batch": {}},
        {"batch": {"event_type": "click"}},
        {"batch": "click"},
        {"batch": [{}], "event_type": "click"},
    ],
)
def test_a_batch_of_another_form_is_refused_as_a_whole(body):
    error = refused(body, events)
    assert error.status == 400
    assert error.reasons == ("batch: must be a list of events; only sent_at may stand next to it",)


def test_a_batch_beyond_the_limit_is_refused_as_oversized():
    sent = [{"event_type": "click"} for _ in range(MAX_BATCH_EVENTS + 1)]
    error = refused({"batch": sent}, events)
    assert error.status == 413
    assert error.reasons == (f"batch: {MAX_BATCH_EVENTS + 1} events; the limit is {MAX_BATCH_EVENTS}",)
    assert len(events({"batch": sent[:MAX_BATCH_EVENTS]}).records) == MAX_BATCH_EVENTS


def test_an_event_that_its_visitor_makes_too_large_leaves_the_visitor_to_the_next_of_its_session():
    large = {"session_id": "s", "event_type": "click", "metadata": "\u0001" * 10_850}
    listed = events(
        {"batch": [large, {"session_id": "s", "event_type": "click"}]}, browser=b'"a":"' + b"x" * 500 + b'"'
    )
    error, record = listed.results
    assert (error.code, error.message) == ("oversized", "this event is too large")
    assert "visitor" in orjson.loads(record.value)


def test_of_a_batch_the_first_accepted_event_of_each_session_names_the_visitor():
    sent = [
        {"session_id": "s1", "event_type": "nonsense"},
        {"session_id": "s1", "event_type": "click"},
        {"session_id": "s2", "event_type": "click"},
        {"session_id": "s1", "event_type": "click"},
        {"session_id": "s2", "event_type": "click"},
    ]
    records = events({"batch": sent}, browser=b'"browser":"Firefox"').records
    assert [(record.session_id, b"Firefox" in record.value) for record in records] == [
        ("s1", True),
        ("s2", True),
        ("s1", False),
        ("s2", False),
    ]


@pytest.mark.parametrize("bad", [None, 0, 1, 2])
def test_a_batch_that_is_checked_as_a_whole_gives_the_records_of_its_events_one_by_one(bad: int | None):
    sent = [{"session_id": f"s{n}", "event_id": f"e{n}", "event_type": "click", "timestamp": NOW} for n in range(3)]
    if bad is not None:
        sent[bad]["scroll_percentage"] = 101
    browser = context(browser=b'"country":"AT"')
    listed = event_list(orjson.loads(orjson.dumps(sent)), browser)
    good = [event_record(dict(one), browser) for n, one in enumerate(sent) if n != bad]
    assert listed.records == good
    assert [isinstance(result, RequestError) for result in listed.results] == [n == bad for n in range(3)]
