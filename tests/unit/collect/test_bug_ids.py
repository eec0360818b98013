"""Ids that are the mistake of a program are told from ids."""

import pytest

from tests.unit.collect.records.requests import event, events, refused, session
from tracker.collect.bug_ids import has_bug, is_bug
from tracker.collect.errors import RequestError
from tracker.collect.records.session_ids import session_id_from_path

BUGS = [
    "undefined",
    "null",
    "Null",
    "NULL",
    "NaN",
    "nan",
    "None",
    "nil",
    "true",
    "[object Object]",
    "[object%20Object]",
    "(null)",
    "{{ session.id }}",
    "{{session_id}}",
    "${sessionId}",
    "<%= id %>",
    "00000000-0000-0000-0000-000000000000",
]
IDS = ["0197f2d0-5d0b-7c3e-9f25-6a6a3f1f3f11", "s", "0", "nullable", "undefined-1", "Nanette", "user@host", "#1", "[1]"]


@pytest.mark.parametrize("value", BUGS)
def test_a_bug_is_one(value):
    assert is_bug(value)
    assert all(has_bug(*ids) for ids in ((value, "a", "b"), ("a", value, "b"), ("a", "b", value)))


@pytest.mark.parametrize("value", [*IDS, "", None, 7, ["undefined"]])
def test_an_id_is_none(value):
    assert not is_bug(value)
    assert not has_bug(value, "a", "b")


# Texts with a space are no session ids at all.
@pytest.mark.parametrize("value", [bug for bug in BUGS if " " not in bug])
@pytest.mark.parametrize("name", ["session_id", "event_id", "user_id"])
def test_in_a_body_it_is_refused_with_its_name(name, value):
    error = refused({"event_type": "click", name: value})
    assert error.code == "invalid"
    assert error.reasons[0].startswith(f"{name}: ")
    assert value not in error.reasons[0]


def test_in_a_batch_it_costs_the_others_nothing():
    listed = events({"batch": [{"event_type": "click", "session_id": "undefined"}, {"event_type": "click"}]})
    assert [isinstance(result, RequestError) for result in listed.results] == [True, False]


def test_in_a_session_it_is_refused():
    assert refused({"session_id": "null", "user_id": "u"}, session).reasons[0].startswith("session_id: ")
    assert refused({"user_id": "undefined"}, session).reasons[0].startswith("user_id: ")


def test_in_a_path_it_is_refused():
    with pytest.raises(RequestError) as caught:
        session_id_from_path("undefined")
    assert caught.value.code == "bad_session_id"


@pytest.mark.parametrize("value", IDS)
def test_ids_are_taken(value):
    assert event({"event_type": "click", "session_id": value, "event_id": value, "user_id": value}).session_id == value
