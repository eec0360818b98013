"""An event counts once: its id and its content, within the duplicate window, whatever lies in between."""

import orjson
import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.keys import is_page
from tracker.sessions.layouts import encode_state
from tracker.sessions.rules import DAY_MS, Rules

KEY = "visitor-1"
HOUR_MS = 60 * MINUTE_MS


@pytest.mark.parametrize("end", ["timeout", "expire", "cap", "max_length"])
def test_a_conversion_sent_again_after_the_end_of_its_session_is_a_duplicate(end: str):
    log = Log(Rules(max_events=1 if end == "cap" else 100, max_length_ms=MINUTE_MS if end == "max_length" else DAY_MS))
    log.event(KEY, event_id="order-1", event_value="99.00")
    if end == "expire":
        log.expire(KEY)
    log.event(KEY, event_id="order-1", event_value="99.00", at=START_MS + HOUR_MS)
    result = log.fold()
    assert [row["event_id"] for row in rows(result.events)] == ["order-1"]
    assert result.counts.duplicates == 1


def test_the_order_of_keys_in_an_objects_metadata_makes_no_other_event():
    log = Log(Rules())
    log.event(KEY, event_id="order-1", metadata={"sku": "s1", "size": {"eu": 43, "ärmel": 2}})
    log.event(KEY, event_id="order-1", metadata={"size": {"ärmel": 2, "eu": 43}, "sku": "s1"})
    log.event(KEY, event_id="order-1", metadata={"sku": "s2"})
    result = log.fold()
    stored = [row["metadata"] for row in rows(result.events)]
    assert stored == ['{"size":{"eu":43,"ärmel":2},"sku":"s1"}', '{"sku":"s2"}']
    assert result.counts.duplicates == 1


def test_the_first_of_very_many_events_sent_again_is_a_duplicate():
    log = Log(Rules(page_events=8))
    for number in range(1_000):
        log.event(KEY, event_id=f"e{number}")
    for number in (0, 1, 7, 8, 500, 999):
        log.event(KEY, event_id=f"e{number}")
    result = log.fold()
    assert result.counts.duplicates == 6
    assert rows(result.events)[-1]["session_event_sequence"] == 1_000


def test_a_new_owner_knows_every_event_that_was_checkpointed():
    log = Log(Rules(page_events=4))
    for number in range(30):
        log.event(KEY, event_id=f"e{number}")
    log.fold()
    log.recover()
    for number in range(30):
        log.event(KEY, event_id=f"e{number}")
    assert log.fold().counts.duplicates == 30


def test_one_id_with_other_contents_is_as_many_events():
    log = Log()
    for value in ("1.00", "2.00", "3.00", "2.00"):
        log.event(KEY, event_id="undefined", event_value=value)
    result = log.fold()
    assert [(row["event_value"], row["session_event_sequence"]) for row in rows(result.events)] == [
        ("1.00", 1),
        ("2.00", 2),
        ("3.00", 3),
    ]
    assert (result.counts.duplicates, result.counts.reused_event_ids) == (1, 2)


def test_reused_ids_are_counted_and_told_apart_in_pages_too():
    log = Log(Rules(page_events=2))
    for value in range(9):
        log.event(KEY, event_id="undefined", event_value=str(value))
    for value in range(9):
        log.event(KEY, event_id="undefined", event_value=str(value))
    result = log.fold()
    assert (len(result.events), result.counts.duplicates, result.counts.reused_event_ids) == (9, 9, 8)


def test_neither_times_nor_the_order_of_fields_make_another_content():
    log = Log()
    data = {"event_type": "click", "event_id": "a", "event_value": "1", "form_id": None}
    for timestamp, fields in (("2026-01-01T00:00:00Z", data), ("2026-01-01T00:00:09Z", dict(reversed(data.items())))):
        record = {"type": "event", "session_id": KEY, "timestamp": timestamp, "data": fields}
        log.raw(KEY.encode(), orjson.dumps(record | {"client_timestamp": timestamp, "retry_count": 1}))
    assert log.fold().counts.duplicates == 1


def test_where_the_workspace_is_named_makes_no_other_content():
    log = Log()
    log.event(KEY, event_id="a", workspace_id="w1")
    log.event(KEY, event_id="a", envelope={"workspace_id": "w1"})
    log.event(KEY, event_id="a")
    assert log.fold().counts.duplicates == 2


@pytest.mark.parametrize(("later_ms", "is_taken"), [(DAY_MS, False), (DAY_MS + 999, False), (DAY_MS + 1_000, True)])
def test_the_window_is_a_day_from_the_first_time_in_whole_seconds(later_ms: int, is_taken: bool):
    log = Log()
    log.event(KEY, event_id="a")
    log.event(KEY, event_id="a", at=START_MS + 12 * HOUR_MS)
    log.event(KEY, event_id="a", at=START_MS + later_ms)
    assert len(log.fold().events) == 1 + is_taken


def test_an_event_without_an_id_is_never_a_duplicate():
    log = Log()
    for _ in range(3):
        log.event(KEY)
    assert [row["session_event_sequence"] for row in rows(log.fold().events)] == [1, 2, 3]


def test_the_state_stays_small_however_many_events_its_session_has():
    log, sizes = Log(), []
    for number in range(2_000):
        log.event(KEY, event_id=f"e{number}")
        log.fold()
        sizes.append(len(encode_state(0, log.table[KEY.encode()].state)))
    assert max(sizes) < 1_400
    assert len(log.pages) == 2_000 // 64
    assert all(is_page(key) for key in log.pages)


def test_event_ids_go_when_their_window_has_passed_and_the_stub_stays():
    log = Log(Rules(page_events=2))
    for number in range(5):
        log.event(KEY, event_id=f"e{number}")
    log.tick(at=START_MS + DAY_MS + 1_000)
    log.fold()
    assert (len(log.pages), log.table[KEY.encode()].state.recent != b"") == (2, True)
    log.tick(at=START_MS + DAY_MS + 1_001)
    log.fold()
    state = log.table[KEY.encode()].state
    assert (log.pages, state.recent, state.pages, state.close_reason) == ({}, b"", None, "timeout")


def test_pages_older_than_the_window_go_while_their_key_lives_on():
    rules = Rules(page_events=2, duplicate_window_ms=HOUR_MS, timeout_ms=10 * MINUTE_MS)
    log = Log(rules)
    for minute in range(0, 300, 5):
        log.event(KEY, event_id=f"e{minute}", at=START_MS + minute * MINUTE_MS)
    log.fold()
    assert len(log.pages) <= 2 * (60 // 5 // 2) + 1
    log.event(KEY, event_id="e240", at=START_MS + 300 * MINUTE_MS)
    log.event(KEY, event_id="e235", at=START_MS + 300 * MINUTE_MS)
    result = log.fold()
    assert ([row["event_id"] for row in rows(result.events)], result.counts.duplicates) == (["e235"], 1)
