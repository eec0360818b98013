"""What the tests of pages make of the log, before they compare it."""

from tests.browser.visits import contexts_of, of_session, once, values


def event(name: str, **fields: str) -> dict[str, str]:
    return {"event_id": f"id-{name}", "event_value": name, **fields}


def test_an_event_that_came_again_keeps_its_first_place_and_its_first_fields():
    # One tab sends b5 and b6, and then the answer to another tab's request with b5 is late.
    told = once([event("b5", sent="first"), event("b6"), event("b5", sent="again"), event("b7")])
    assert values(told) == ["b5", "b6", "b7"]
    assert told[0]["sent"] == "first"


def test_events_of_other_sessions_and_contexts_are_left_out():
    records = [
        {"session_id": "s1", "type": "session", "data": {}},
        {"session_id": "s2", "type": "event", "data": event("other")},
        {"session_id": "s1", "type": "event", "data": event("mine")},
    ]
    assert values(of_session(records, "s1")) == ["mine"]


def test_a_context_that_is_told_again_counts_and_a_record_that_came_again_does_not():
    first, second, third = (
        {"session_id": "s1", "type": "session", "timestamp": at, "data": {"consent": consent}}
        for at, consent in ((1, "granted"), (2, "denied"), (3, "granted"))
    )
    told = contexts_of([first, second, first, second, third], "s1")
    assert [context["consent"] for context in told] == ["granted", "denied", "granted"]
