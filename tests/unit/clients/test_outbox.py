"""The client's queue: limits, batches, order within a session, retries, refusals. No clock, no network."""

import json
from datetime import UTC, datetime

import pytest
from event_tracker_client.answers import Answer, retry_after_ms
from event_tracker_client.items import Item, Kind, encode
from event_tracker_client.outbox import Limits, Outbox, Parcel

NOW = 1_000_000
INTERVAL = Limits().flush_interval_ms


def item(name: str, session: str = "s", kind: Kind = "event", at_ms: int = NOW, size: int = 0) -> Item:
    return Item(kind, session, name, encode({"event_id": name, "filler": "x" * size}), at_ms)


def outbox(*items: Item, **limits: int) -> Outbox:
    made = Outbox(Limits(**limits), jitter=lambda: 1.0)
    for each in items:
        assert made.put(each) is None
    return made


def names(parcel: Parcel | None) -> list[str]:
    assert parcel is not None
    return [str(each.event_id) for each in parcel.items]


def accepted(parcel: Parcel) -> Answer:
    results = [{"index": index, "status": "accepted"} for index in range(len(parcel.items))]
    return Answer(202, {"results": results} if parcel.is_batch else {"session_id": "s"})


def send_all(box: Outbox, now_ms: int = NOW + INTERVAL) -> list[list[str]]:
    """Take and settle until nothing is due; return what each request had."""
    sent = []
    while (parcel := box.take(now_ms)) is not None:
        sent.append(names(parcel))
        assert box.settle(parcel, accepted(parcel), now_ms) == []
    return sent


def error(status: int, code: str = "a_code", retry_after_ms: int = 0) -> Answer:
    return Answer(status, {"error": {"code": code, "message": "m", "reasons": [f"why: {code}"]}}, retry_after_ms)


NO_ANSWER = Answer(None, error="no answer")


# -- When something is sent -----------------------------------------------------------------------------------------


def test_an_item_waits_for_others_as_long_as_the_interval_says():
    box = outbox(item("a"))
    assert box.due_at_ms() == NOW + INTERVAL
    assert box.take(NOW + INTERVAL - 1) is None
    assert names(box.take(NOW + INTERVAL)) == ["a"]


def test_a_full_batch_waits_for_nobody():
    box = outbox(item("a"), item("b"), max_batch_events=2)
    assert names(box.take(NOW)) == ["a", "b"]


def test_bytes_fill_a_batch_too_and_are_its_limit():
    box = outbox(*(item(name, size=40_000) for name in "abc"), max_batch_bytes=100_000)
    assert names(box.take(NOW)) == ["a", "b"]


def test_a_flush_is_for_what_waits_now_and_not_for_what_comes_after_it():
    box = outbox(item("a"))
    number = box.flush()
    parcel = box.take(NOW)
    assert parcel is not None
    box.put(item("b"))
    box.settle(parcel, accepted(parcel), NOW)
    assert box.done_up_to == number
    assert box.take(NOW) is None


def test_a_flush_is_not_done_by_what_came_later_and_went_ahead():
    box = outbox(item("a", "s"), item("b", "s"))
    number = box.flush()
    for name in ("x", "y", "z"):
        box.put(item(name, name, "session"))
        parcel = box.take(NOW)
        assert names(parcel) == [name]
        box.settle(parcel, accepted(parcel), NOW)
        assert box.done_up_to < number


def test_only_one_parcel_is_under_way():
    box = outbox(item("a"), item("b"), max_batch_events=1)
    assert names(box.take(NOW)) == ["a"]
    assert box.take(NOW) is None
    assert box.due_at_ms() is None


# -- Order ----------------------------------------------------------------------------------------------------------


def test_openings_go_ahead_of_other_sessions_events_so_that_batches_stay_whole():
    opened_1, opened_2 = item("open-1", "1", "session"), item("open-2", "2", "session")
    box = outbox(opened_1, item("1a", "1"), opened_2, item("2a", "2"), item("1b", "1"))
    assert send_all(box) == [["open-1"], ["open-2"], ["1a", "2a", "1b"]]


def test_what_is_said_of_a_session_stays_behind_its_earlier_events():
    box = outbox(item("1a", "1"), item("end-1", "1", "expire"), item("1b", "1"), item("2a", "2"))
    assert send_all(box) == [["1a"], ["end-1"], ["1b", "2a"]]


def test_nothing_overtakes_a_parcel_that_has_to_be_sent_again():
    box = outbox(item("a"), item("b"), max_batch_events=2)
    parcel = box.take(NOW)
    assert parcel is not None
    box.settle(parcel, NO_ANSWER, NOW)
    box.put(item("c"))
    assert names(box.take(NOW + 60_000)) == ["a", "b"]


# -- Limits ---------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_what_comes_on_top_and_keeps_what_it_has():
    box = outbox(item("a"), max_queue_items=1)
    refused = box.put(item("b"))
    assert refused is not None
    assert (refused.code, refused.event_id, refused.may_have_arrived) == ("queue_full", "b", False)
    assert send_all(box, NOW) == [["a"]]  # it waits for no others
    assert box.put(item("c")) is None


def test_bytes_fill_a_queue_too_and_leave_it_again():
    box = outbox(item("a", size=50_000), max_queue_bytes=65_536)
    assert box.put(item("b", size=20_000)).code == "queue_full"
    send_all(box)
    assert box.put(item("c", size=50_000)) is None


def test_an_item_that_is_larger_than_any_record_is_refused_at_once():
    assert outbox().put(item("a", size=70_000)).code == "oversized"


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_batch_events", 501), ("max_batch_events", 0), ("retry_budget_ms", 24 * 3_600_000), ("max_queue_bytes", 1)],
)
def test_a_limit_out_of_its_range_is_named(name: str, value: int):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


# -- Answers --------------------------------------------------------------------------------------------------------


NO_VERDICTS = [
    NO_ANSWER,
    *(error(status) for status in (401, 403, 404, 405, 408, 415, 429, 500, 503)),
    *(Answer(status) for status in (200, 202, 301)),
    Answer(202, {"results": []}),
    Answer(202, {"results": [1, 2]}),
    Answer(202, {"results": [{"status": "accepted"}]}),
]


@pytest.mark.parametrize("answer", NO_VERDICTS, ids=str)
def test_what_is_no_verdict_is_sent_again_unchanged(answer: Answer):
    box = outbox(item("a"), item("b"), max_batch_events=2)
    first = box.take(NOW)
    assert first is not None
    assert box.settle(first, answer, NOW) == []
    second = box.take(NOW + 60_000)
    assert second is not None
    assert [each.body for each in second.items] == [each.body for each in first.items]


def test_waits_double_up_to_their_limit_and_begin_anew_after_a_success():
    box = outbox(*(item(str(n)) for n in range(3)), max_batch_events=1, max_retry_wait_ms=1_000)
    waits, now_ms = [], NOW
    for _ in range(4):
        parcel = box.take(now_ms)
        assert parcel is not None
        box.settle(parcel, NO_ANSWER, now_ms)
        waits.append(box.due_at_ms() - now_ms)
        now_ms += waits[-1]
    assert waits == [250, 500, 1_000, 1_000]
    parcel = box.take(now_ms)
    box.settle(parcel, accepted(parcel), now_ms)
    parcel = box.take(now_ms)
    box.settle(parcel, NO_ANSWER, now_ms)
    assert box.due_at_ms() == now_ms + 250


def test_jitter_halves_a_wait_at_most():
    box = Outbox(Limits(max_batch_events=1), jitter=lambda: 0.0)
    box.put(item("a"))
    parcel = box.take(NOW)
    box.settle(parcel, NO_ANSWER, NOW)
    assert box.due_at_ms() == NOW + 125


def test_retry_after_is_waited_for_also_by_a_client_that_is_being_closed():
    box = outbox(item("a"), max_batch_events=1)
    parcel = box.take(NOW)
    box.settle(parcel, error(429, retry_after_ms=7_000), NOW)
    assert box.due_at_ms() == NOW + 7_000
    box.hurry()
    assert box.due_at_ms() == NOW + 7_000


def test_a_backoff_is_cut_short_by_closing():
    box = outbox(item("a"), max_batch_events=1)
    parcel = box.take(NOW)
    box.settle(parcel, NO_ANSWER, NOW)
    box.hurry()
    assert names(box.take(NOW)) == ["a"]


@pytest.mark.parametrize(
    ("value", "ms"),
    [(None, 0), ("2", 2_000), (" 10 ", 10_000), ("9999999999999", 300_000), ("-1", 0), ("soon", 0), ("²", 0)],
)
def test_retry_after_in_seconds(value: str | None, ms: int):
    assert retry_after_ms(value) == ms


def test_retry_after_as_a_date():
    now = datetime(2026, 11, 25, 9, 30, 0, tzinfo=UTC)
    assert retry_after_ms("Wed, 25 Nov 2026 09:30:05 GMT", now) == 5_000
    assert retry_after_ms("Wed, 25 Nov 2026 09:29:00 GMT", now) == 0


def test_a_rejected_event_is_given_up_with_its_reasons_and_its_neighbours_are_delivered():
    box = outbox(item("a"), item("b"), item("c"), max_batch_events=3)
    parcel = box.take(NOW)
    results = [
        {"status": "accepted"},
        {"status": "rejected", "reasons": ["event_value: too long"]},
        {"status": "dropped"},
    ]
    (given_up,) = box.settle(parcel, Answer(202, {"results": results}), NOW)
    assert (given_up.code, given_up.event_id, given_up.reasons) == ("rejected", "b", ("event_value: too long",))
    assert json.loads(given_up.body)["event_id"] == "b"
    assert (len(box), box.delivered) == (0, 2)


def test_a_rejection_after_a_try_without_an_answer_says_that_the_item_may_have_arrived():
    box = outbox(item("a"), max_batch_events=1)
    assert box.settle(box.take(NOW), NO_ANSWER, NOW) == []
    later = NOW + Limits().max_retry_wait_ms
    (given_up,) = box.settle(box.take(later), Answer(400, {"results": [{"status": "rejected"}]}), later)
    assert (given_up.code, given_up.may_have_arrived) == ("rejected", True)


def test_a_batch_without_a_good_event_is_given_up_whole():
    box = outbox(item("a"), item("b"), max_batch_events=2)
    parcel = box.take(NOW)
    results = [{"status": "rejected", "reasons": ["no"]}] * 2
    given_up = box.settle(parcel, Answer(400, {"error": {}, "results": results}), NOW)
    assert [each.event_id for each in given_up] == ["a", "b"]


@pytest.mark.parametrize(("status", "code"), [(413, "oversized"), (400, "rejected"), (422, "rejected")])
def test_a_refusal_without_verdicts_is_narrowed_down_to_the_event_that_causes_it(status: int, code: str):
    box = outbox(*(item(str(n)) for n in range(100)), max_batch_events=100)
    given_up, requests = [], 0
    while (parcel := box.take(NOW + INTERVAL)) is not None:
        requests += 1
        answer = error(status) if any(each.event_id == "70" for each in parcel.items) else accepted(parcel)
        given_up += box.settle(parcel, answer, NOW + INTERVAL)
    assert [(each.event_id, each.code, each.reasons) for each in given_up] == [("70", code, ("why: a_code",))]
    assert (box.delivered, len(box)) == (99, 0)
    assert requests < 30


@pytest.mark.parametrize("status", [400, 403])
def test_what_a_key_may_not_do_with_a_session_is_given_up_at_once(status: int):
    box = outbox(item("end", "s", "expire"), item("a"))
    parcel = box.take(NOW + INTERVAL)
    (given_up,) = box.settle(parcel, error(status, "forbidden"), NOW)
    assert (given_up.kind, given_up.code, given_up.reasons) == ("expire", "rejected", ("why: forbidden",))
    assert names(box.take(NOW + INTERVAL)) == ["a"]


# -- The end of patience --------------------------------------------------------------------------------------------


def test_an_item_is_given_up_when_its_budget_is_over_and_younger_ones_are_kept():
    box = outbox(item("old"), item("young", at_ms=NOW + 5_000), max_batch_events=2, retry_budget_ms=10_000)
    parcel = box.take(NOW + 9_999)
    assert box.settle(parcel, NO_ANSWER, NOW + 9_999) == []
    parcel = box.take(NOW + 12_000)
    (given_up,) = box.settle(parcel, error(503), NOW + 12_000)
    assert (given_up.code, given_up.event_id, given_up.may_have_arrived) == ("expired", "old", True)
    assert len(box) == 1


@pytest.mark.parametrize(("answer", "maybe"), [(NO_ANSWER, True), (error(503), True), (error(429), False)])
def test_closing_gives_up_what_is_left_and_says_what_may_have_arrived(answer: Answer, *, maybe: bool):
    box = outbox(item("tried"), item("never"), max_batch_events=1)
    parcel = box.take(NOW)
    box.settle(parcel, answer, NOW)
    given_up = box.close()
    assert [(each.event_id, each.code, each.may_have_arrived) for each in given_up] == [
        ("tried", "closed", maybe),
        ("never", "closed", False),
    ]
    assert box.put(item("late")).code == "closed"


def test_an_answer_that_comes_after_closing_changes_nothing():
    box = outbox(item("a"), max_batch_events=1)
    parcel = box.take(NOW)
    (given_up,) = box.close()
    assert given_up.may_have_arrived
    assert box.settle(parcel, accepted(parcel), NOW) == []
    assert (box.delivered, len(box)) == (0, 0)


def test_a_report_shows_nothing_of_the_event():
    box = outbox(Item("event", "s", "a", b'{"user_id":"secret-person"}', NOW), max_batch_events=1)
    box.take(NOW)
    (given_up,) = box.close()
    assert "secret-person" not in repr(given_up)
    assert given_up.body == b'{"user_id":"secret-person"}'
