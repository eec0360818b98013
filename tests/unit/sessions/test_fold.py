"""The fold, rule by rule: what a record does to a session and what goes out."""

import orjson
import pytest
from pydantic import TypeAdapter

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from topics.codec import source_adapter
from topics.dead_letter import CREATE_TIME
from topics.event import EventData
from topics.headers import SKIPPED, UNDECODABLE
from topics.session import SESSION_ONLY_FIELDS, SessionRow
from tracker.sessions.keys import renewed_session_id
from tracker.sessions.rules import Rules

KEY = "visitor-1"


def test_events_are_numbered_from_one_without_gap():
    log = Log()
    for name in "abc":
        log.event(KEY, event_id=name)
    result = log.fold()
    assert [(r["event_id"], r["session_event_sequence"]) for r in rows(result.events)] == [("a", 1), ("b", 2), ("c", 3)]
    assert {r["session_id"] for r in rows(result.events)} == {KEY}


def test_what_comes_out_is_event_data_and_a_session_row():
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w", viewport_width=100, referrer_url=None)
    result = log.fold()
    (event,) = result.events
    (session,) = result.sessions
    assert TypeAdapter(EventData).validate_json(event.value)["session_event_sequence"] == 1
    assert TypeAdapter(SessionRow).validate_json(session.value)["workspace_id"] == "w"


def test_a_repeated_event_id_takes_no_number():
    log = Log()
    for name in ("a", "a", "b", "a"):
        log.event(KEY, event_id=name)
    result = log.fold()
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2]
    assert result.counts.duplicates == 2


def test_an_event_that_comes_again_after_the_window_is_taken_again():
    log = Log(Rules(duplicate_window_ms=MINUTE_MS))
    for at in (START_MS, START_MS + MINUTE_MS, START_MS + MINUTE_MS + 1_000):
        log.event(KEY, event_id="a", at=at)
    assert [r["session_event_sequence"] for r in rows(log.fold().events)] == [1, 2]


def test_an_event_exactly_at_the_deadline_still_belongs():
    log = Log()
    log.event(KEY, event_id="a")
    log.event(KEY, event_id="b", at=START_MS + 30 * MINUTE_MS)
    result = log.fold()
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2]


def test_one_millisecond_later_is_a_new_session_from_one():
    log = Log()
    log.event(KEY, event_id="a")
    log.event(KEY, event_id="b", at=START_MS + 30 * MINUTE_MS + 1)
    result = log.fold()
    first, second = rows(result.events)
    assert second["session_event_sequence"] == 1
    assert second["session_id"] == renewed_session_id("", KEY, 1, START_MS + 30 * MINUTE_MS + 1, "b")
    opened, closed, renewed = rows(result.sessions)
    assert (closed["session_id"], closed["close_reason"], closed["event_count"]) == (KEY, "timeout", 1)
    assert renewed["session_id"] == second["session_id"] != first["session_id"]
    assert opened["version"] < closed["version"]


def test_a_tick_closes_what_is_past_its_deadline_though_nothing_else_arrives():
    log = Log()
    log.event(KEY)
    log.tick(at=START_MS + 30 * MINUTE_MS)
    log.tick(at=START_MS + 31 * MINUTE_MS)
    closed = rows(log.fold().sessions)[1:]
    assert [(r["is_expired"], r["version"], r["closed_at"]) for r in closed] == [(True, 9, "2026-01-01T00:30:00Z")]


def test_sessions_due_at_one_tick_close_in_the_order_of_their_deadlines():
    log = Log()
    log.event("b", at=START_MS + 1)
    log.event("a", at=START_MS + 1)
    log.event("0-later", at=START_MS + 2)
    log.tick(at=START_MS + 60 * MINUTE_MS)
    result = log.fold()
    closed = [r["session_key"] for r in rows(result.sessions) if r["is_expired"]]
    assert closed == ["a", "b", "0-later"]
    assert [dict(o.headers)["source-position"] for o in result.sessions[3:]] == [b"3:3:0", b"3:3:1", b"3:3:2"]


def test_a_session_ends_at_its_maximum_length_however_busy():
    log = Log(Rules(timeout_ms=MINUTE_MS, max_length_ms=3 * MINUTE_MS))
    for minute in range(5):
        log.event(KEY, at=START_MS + minute * MINUTE_MS)
    result = log.fold()
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2, 3, 4, 1]
    assert [r["close_reason"] for r in rows(result.sessions) if r["is_expired"]] == ["max_length"]


def test_expire_closes_and_the_next_event_renews():
    log = Log()
    log.event(KEY)
    log.expire(KEY)
    log.expire(KEY)
    log.event(KEY)
    result = log.fold()
    assert [r["close_reason"] for r in rows(result.sessions)] == ["", "expired", ""]
    assert len({r["session_id"] for r in rows(result.events)}) == 2


def test_a_workspace_closes_its_own_sessions_only():
    log = Log()
    log.session(KEY, workspace_id="w1")
    log.expire(KEY, workspace_id="w2")
    assert [r["close_reason"] for r in rows(log.fold().sessions)] == [""]
    log.expire(KEY, workspace_id="w1")
    assert [r["close_reason"] for r in rows(log.fold().sessions)] == ["expired"]


def test_context_given_at_session_fills_every_event_that_lacks_it():
    log = Log()
    log.session(KEY, user_id="u", campaign_id="c")
    log.event(KEY, campaign_id="own")
    log.event(KEY, user_id="")
    first, second = rows(log.fold().events)
    assert (first["user_id"], first["campaign_id"]) == ("u", "own")
    assert (second["user_id"], second["campaign_id"]) == ("u", "c")


def test_consent_and_traits_are_the_sessions_alone_and_the_last_answer_counts():
    log = Log()
    log.session(KEY, user_id="u1", user_traits='{"plan":"pro"}', consent_analytics="granted")
    log.session(KEY, consent_analytics="denied", consent_marketing="denied")
    log.event(KEY, event_id="a")
    result = log.fold()
    told = [[row[name] for name in SESSION_ONLY_FIELDS] for row in rows(result.sessions)]
    assert told == [['{"plan":"pro"}', "granted", ""], ['{"plan":"pro"}', "denied", "denied"]]
    (event,) = result.events
    assert TypeAdapter(EventData).validate_json(event.value)["user_id"] == "u1"


def test_a_session_row_goes_out_only_when_context_or_timeout_changes():
    log = Log()
    log.session(KEY, user_id="u")
    log.session(KEY, user_id="u")
    log.session(KEY, campaign_id="c")
    log.session(KEY, timeout_seconds=300)
    assert [(r["user_id"], r["campaign_id"], r["session_timeout_seconds"]) for r in rows(log.fold().sessions)] == [
        ("u", "", 1800),
        ("u", "c", 1800),
        ("u", "c", 300),
    ]


def test_a_shorter_timeout_of_its_own_is_kept_to_the_millisecond():
    log = Log()
    log.event(KEY)
    log.session(KEY, timeout_seconds=300)
    log.tick(at=START_MS + 5 * MINUTE_MS)
    log.tick(at=START_MS + 5 * MINUTE_MS + 1)
    assert [r["is_expired"] for r in rows(log.fold().sessions)] == [False, False, True]


def test_stream_time_never_goes_back():
    log = Log()
    log.event(KEY, at=START_MS + 10)
    log.event(KEY, at=START_MS)
    log.fold()
    assert log.partition.stream_time_ms == START_MS + 10


def test_a_stub_is_forgotten_after_its_retention():
    log = Log(Rules(closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=MINUTE_MS))
    log.event(KEY)
    log.expire(KEY)
    log.tick(at=START_MS + MINUTE_MS)
    log.event(KEY)
    log.tick(at=START_MS + MINUTE_MS + 1)
    log.event("other", at=START_MS + 2 * MINUTE_MS + 1)
    log.tick(at=START_MS + 2 * MINUTE_MS + 2)
    found = rows(log.fold().events)
    assert [r["session_id"] == KEY for r in found] == [True, False, False]


def test_a_forgotten_key_is_a_new_one_whose_rows_do_not_replace_the_old_ones():
    log = Log(Rules(closed_stub_retention_ms=MINUTE_MS))
    log.event(KEY, event_id="a")
    log.expire(KEY)
    log.tick(at=START_MS + MINUTE_MS + 1)
    log.event(KEY, event_id="a", at=START_MS + MINUTE_MS + 1)
    first, second = rows(log.fold().events)
    assert (first["session_id"], first["session_event_sequence"]) == (KEY, 1)
    assert (second["session_id"], second["session_event_sequence"]) == (KEY, 1)
    assert first["id"] != second["id"]


def test_what_is_left_of_a_forgotten_key_goes_once_no_stale_write_can_come_any_more():
    log = Log(Rules(closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=MINUTE_MS))
    log.event(KEY)
    log.expire(KEY)
    log.tick(at=START_MS + MINUTE_MS + 1)
    log.fold()
    assert log.table[KEY.encode()].state.close_reason == "forgotten"
    log.tick(at=START_MS + 2 * MINUTE_MS + 2)
    assert log.fold().changed[KEY.encode()].state is None


def test_a_key_older_than_any_stub_is_treated_as_used():
    old = "0190b5e0-0000-7000-8000-000000000000"
    log = Log()
    log.event(old)
    (row,) = rows(log.fold().events)
    assert row["session_id"] != old


BORN_MS, KEPT_MS = 0x0190_B5E0_1234, Rules().closed_stub_retention_ms


@pytest.mark.parametrize(
    ("key", "at_ms", "is_used"),
    [
        ("0190b5e0-1234-7000-8000-000000000000", BORN_MS, False),
        ("0190b5e0-1234-7000-8000-000000000000", BORN_MS + KEPT_MS, False),
        ("0190b5e0-1234-7000-8000-000000000000", BORN_MS + KEPT_MS + 1, True),
        ("0190B5E0-1234-7FFF-BFFF-FFFFFFFFFFFF", BORN_MS + KEPT_MS + 1, True),
        ("0190b5e0-1234-4000-8000-000000000000", BORN_MS + KEPT_MS + 1, False),  # of another version: no time is in it
        ("0190b5e0-1234-7000-8000-00000000000", BORN_MS + KEPT_MS + 1, False),  # a character is missing
        ("visitors-1234-7000-8000-000000000000", BORN_MS + KEPT_MS + 1, False),
    ],
)
def test_only_a_uuid7_says_how_old_its_key_is(key: str, at_ms: int, is_used: bool):
    log = Log()
    log.event(key, at_ms)
    (row,) = rows(log.fold().events)
    assert (row["session_id"] != key) is is_used


def test_a_session_keeps_the_visitor_of_the_first_record_that_carries_one():
    log = Log()
    log.event(KEY)
    log.event(KEY, visitor={"browser": "Firefox", "device_type": "desktop", "is_bot": False, "city": ""})
    log.event(KEY, visitor={"browser": "Chrome"})
    log.session(KEY, visitor={"browser": "Chrome"}, user_id="u")
    log.expire(KEY)
    result = log.fold()
    found = [(r["browser"], r["device_type"], r["is_bot"], r["is_expired"]) for r in rows(result.sessions)]
    assert found == [
        ("", "", False, False),
        ("Firefox", "desktop", False, False),
        ("Firefox", "desktop", False, False),
        ("Firefox", "desktop", False, True),
    ]
    assert all("browser" not in event for event in rows(result.events))
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["event", "session"])
def test_a_session_says_at_once_what_it_learns_of_its_visitor_and_nothing_when_it_learns_nothing(kind: str):
    log = Log()
    log.event(KEY)
    for visitor in (
        {},
        {"city": ""},
        {"city": "Bonn"},
        {"city": "Bonn"},
        {"utm_source": "mail"},
        {"utm_source": "mail"},
    ):
        getattr(log, kind)(KEY, visitor=visitor)
    found = [(row["city"], row["touches"].count("mail")) for row in rows(log.fold().sessions)]
    assert found == [("", 0), ("Bonn", 0), ("Bonn", 1)]


def test_a_renewed_session_has_a_visitor_of_its_own():
    log = Log()
    log.session(KEY, visitor={"country": "DE", "is_bot": True})
    log.expire(KEY)
    log.event(KEY)
    result = log.fold()
    assert [(r["country"], r["is_bot"]) for r in rows(result.sessions)] == [("DE", True), ("DE", True), ("", False)]
    TypeAdapter(SessionRow).validate_json(result.sessions[0].value)


def test_a_flush_goes_through_in_band_and_takes_no_number():
    log = Log()
    log.event(KEY)
    log.flush(KEY)
    log.event(KEY)
    events = log.fold().events
    assert [("flush", b"1") in o.headers for o in events] == [False, True, False]
    assert orjson.loads(events[2].value)["session_event_sequence"] == 2


def test_a_flush_reaches_both_output_topics_whatever_the_session_is():
    log = Log()
    log.flush("unheard-of")
    log.event(KEY)
    log.expire(KEY)
    log.flush(KEY)
    result = log.fold()
    for outputs in (result.events, result.sessions):
        assert [("flush", b"1") in o.headers for o in outputs if o.value is None] == [
            True,
            True,
            True,
        ]  # a session that is ended on purpose is shipped at once
    assert b"unheard-of" not in result.changed


def test_an_events_own_time_is_kept_however_late_and_moves_nothing():
    log = Log()
    for at, stamp in ((0, "2026-01-01T00:00:00Z"), (1, "2025-12-01T00:00:00Z"), (2, "2027-01-01T00:00:00Z")):
        log.event(KEY, at=START_MS + at)
        value = log.records[-1].value.replace(b"2026-01-01T00:00:00Z", stamp.encode())
        log.records[-1] = log.records[-1]._replace(value=value)
    found = [(r["timestamp"], r["session_event_sequence"]) for r in rows(log.fold().events)]
    assert found == [("2026-01-01T00:00:00Z", 1), ("2025-12-01T00:00:00Z", 2), ("2027-01-01T00:00:00Z", 3)]
    assert log.partition.stream_time_ms == START_MS + 2


def test_how_often_an_event_was_sent_again_travels_beside_its_row():
    log = Log()
    for header in ((), [("retry-count", b"4")]):
        log.event(KEY)
        log.records[-1] = log.records[-1]._replace(headers=header)
    log.event(KEY)
    log.records[-1] = log.records[-1]._replace(
        value=log.records[-1].value.replace(b'"data"', b'"retry_count":2,"data"')
    )
    result = log.fold()
    assert [dict(o.headers).get("retry-count") for o in result.events] == [None, b"4", b"2"]
    assert result.counts.retried == 2


def test_the_trace_of_an_event_travels_beside_its_row_and_nothing_else_under_that_name_does():
    traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    log = Log()
    for header in ((), [("traceparent", traceparent)], [("traceparent", traceparent * 100)]):
        log.event(KEY)
        log.records[-1] = log.records[-1]._replace(headers=header)
    result = log.fold()
    assert [dict(o.headers).get("traceparent") for o in result.events] == [None, traceparent, None]
    assert {o.headers[0][0] for o in result.events} == {"source-position"}  # the position comes first, for speed
    assert all("traceparent" not in dict(o.headers) for o in result.sessions)


def test_expire_and_flush_open_nothing():
    log = Log()
    log.expire(KEY)
    log.flush(KEY)
    result = log.fold()
    assert (result.changed, rows(result.sessions)) == ({}, [])


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"k", b"\xff\x00garbage", "not_json"),
        (b"k", b"{}", "invalid"),
        (
            None,
            b'{"type":"event","session_id":"k","timestamp":"2026-01-01T00:00:00Z","data":{"event_type":"click"}}',
            "missing_key",
        ),
        (
            b"\xff\xfe",
            b'{"type":"event","session_id":"k","timestamp":"2026-01-01T00:00:00Z","data":{"event_type":"click"}}',
            "bad_key",
        ),
        (
            b"k",
            b'{"type":"event","session_id":"k","timestamp":"2026-01-01T00:00:00Z","data":{"event_type":"hover"}}',
            "invalid",
        ),
        (b"k", b" " * 70_000, "oversized"),
        (b"k", None, "empty_value"),
    ],
)
def test_bad_input_becomes_a_dead_letter_with_its_reason_and_costs_its_neighbours_nothing(key, value, reason):
    log = Log()
    log.event(KEY)
    log.raw(key, value)
    log.event(KEY)
    result = log.fold()
    assert [r["session_event_sequence"] for r in rows(result.events)] == [1, 2]
    (letter,) = rows(result.dead_letters)
    assert (letter["reason"], letter["source_offset"], letter["stage"]) == (reason, 1, "process")
    assert (letter["first_failed_at_ms"], letter["last_failed_at_ms"]) == (START_MS, START_MS)  # the log's time


def test_a_state_that_has_had_a_record_ignores_it():
    log = Log()
    log.event(KEY)
    log.event(KEY)
    log.fold()
    log.recover()
    log.go_back_to(0)
    again = log.fold()
    assert again.events == []
    assert again.counts.already_applied == 2


def test_a_record_that_a_session_has_had_does_not_end_it_though_the_rules_are_stricter_since():
    """After a kill between two batches of the changelog, and a restart with a shorter maximum length."""
    log = Log()
    before = log.partition.mark
    for minute in (0, 10, 20):
        log.event(KEY, START_MS + minute * MINUTE_MS)
    log.fold()
    log.rules = Rules(max_length_ms=MINUTE_MS)
    log.recover(before)
    log.go_back_to(0)
    log.tick(START_MS + 21 * MINUTE_MS)
    result = log.fold()
    assert (result.counts.already_applied, result.events, result.counts.closed) == (3, [], {"max_length": 1})
    assert log.table[KEY.encode()].state.sequence == 3


def test_every_row_that_changes_is_there_to_be_written_at_the_record_that_changed_it_last():
    log = Log()
    for key in ("ended", "passed", "lasting"):
        log.event(key)
    log.fold()
    log.event("lasting", START_MS + 20 * MINUTE_MS)
    log.expire("ended", START_MS + 20 * MINUTE_MS)
    log.tick(START_MS + 31 * MINUTE_MS)
    changed = log.fold().changed
    assert {key: (row.offset, row.state.close_reason) for key, row in changed.items()} == {
        b"lasting": (3, ""),
        b"ended": (4, "expired"),
        b"passed": (5, "timeout"),
    }


def test_the_log_of_the_tests_holds_valid_records():
    log = Log()
    log.session(KEY, user_id="u")
    assert source_adapter().validate_json(log.records[0].value)["type"] == "session"


def test_a_record_with_its_producers_time_is_a_letter_and_ends_no_session():
    log = Log()
    log.event("s", event_id="a")
    log.event("s", event_id="year ahead", at=START_MS + 365 * 24 * 3_600_000)
    log.records[1] = log.records[1]._replace(timestamp_type=CREATE_TIME)
    log.event("s", event_id="b", at=START_MS + 1)
    result = log.fold()
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1, 2]
    assert [(letter["reason"], letter["source_offset"]) for letter in rows(result.dead_letters)] == [("untimed", 1)]
    assert log.partition.stream_time_ms == START_MS + 1


def test_in_the_log_of_an_import_times_are_those_of_its_files():
    log = Log(Rules(keys_are_used=True))
    log.event("s", event_id="a")
    log.records[0] = log.records[0]._replace(timestamp_type=CREATE_TIME)
    assert len(log.fold().events) == 1


@pytest.mark.parametrize(("header", "reason"), [(UNDECODABLE, "undecodable"), (SKIPPED, "skipped")])
def test_a_record_that_is_not_to_be_read_becomes_a_letter_with_its_reason_and_those_after_it_are_numbered(
    header: str, reason: str
):
    log = Log()
    good = b'{"type":"event","session_id":"%b","timestamp":"2026-01-01T00:00:00Z","data":{"event_type":"click"}}'
    log.raw(b"a", good % b"a", headers=[("traceparent", b"x"), (header, b"why it is not read")])
    log.raw(b"a", good % b"a", headers=[("traceparent", b"x")])
    result = log.fold()
    (letter,) = rows(result.dead_letters)
    assert (letter["reason"], letter["detail"]) == (reason, "why it is not read")
    assert [row["session_event_sequence"] for row in rows(result.events)] == [1]
