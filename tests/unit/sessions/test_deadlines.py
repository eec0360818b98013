"""The index of deadlines by itself: when a key comes up, how often, and how much an entry takes."""

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.deadlines import BUCKET_MS, COMPACT_BYTES, COMPACT_FACTOR, Deadlines
from tracker.sessions.rules import Rules

ENTRY_HEAD_BYTES = 4


def armed(*entries: tuple[bytes, int]) -> Deadlines:
    index = Deadlines()
    for key, deadline_ms in entries:
        index.arm(key, deadline_ms)
    return index


def numbered_keys(count: int) -> list[bytes]:
    return [b"%05d" % number for number in range(count)]


def test_a_deadline_has_passed_one_millisecond_after_it():
    index = Deadlines()
    for at in (5, BUCKET_MS, 3 * BUCKET_MS):
        index.arm(b"%d" % at, at)
        assert index.take_passed(at) == []
        assert index.next_ms == at
        assert index.take_passed(at + 1) == [b"%d" % at]
        assert index.next_ms is None


def test_keys_come_up_in_the_order_of_their_deadlines_across_buckets():
    index = armed((b"c", 3 * BUCKET_MS + 1), (b"b", BUCKET_MS + 7), (b"a", BUCKET_MS + 2), (b"d", 3 * BUCKET_MS + 2))
    assert index.next_ms == BUCKET_MS + 2
    assert index.take_passed(3 * BUCKET_MS + 2) == [b"a", b"b", b"c"]
    assert index.next_ms == 3 * BUCKET_MS + 2


def test_a_deadline_that_comes_nearer_comes_up_at_both_times():
    index = armed((b"a", 5 * BUCKET_MS))
    index.rearm(b"a", 5 * BUCKET_MS, 2 * BUCKET_MS)
    assert index.take_passed(2 * BUCKET_MS + 1) == [b"a"]
    assert index.take_passed(5 * BUCKET_MS + 1) == [b"a"]
    assert index.next_ms is None


@pytest.mark.parametrize("deadline_ms", [2 * BUCKET_MS, 3 * BUCKET_MS])
def test_a_deadline_that_stays_or_moves_away_takes_no_entry(deadline_ms: int):
    index = armed((b"a", 2 * BUCKET_MS))
    index.rearm(b"a", 2 * BUCKET_MS, deadline_ms)
    assert index.distant_bytes == ENTRY_HEAD_BYTES + len(b"a")


@pytest.mark.parametrize("at_ms", [5, 3 * BUCKET_MS + 5])
def test_a_key_that_was_armed_twice_for_one_deadline_comes_up_once(at_ms: int):
    index = armed((b"a", at_ms), (b"b", at_ms), (b"a", at_ms))
    assert sorted(index.take_passed(at_ms + 1)) == [b"a", b"b"]
    assert index.next_ms is None


def test_a_key_with_two_deadlines_in_a_minute_comes_up_at_the_sooner_one():
    index = armed((b"a", BUCKET_MS + 9), (b"a", BUCKET_MS + 3), (b"a", BUCKET_MS + 6))
    assert index.take_passed(BUCKET_MS + 4) == [b"a"]
    assert index.next_ms is None


def test_a_distant_entry_takes_its_key_and_four_bytes():
    keys = numbered_keys(10_000)
    index = armed(*((key, START_MS + number) for number, key in enumerate(keys)))
    assert index.distant_bytes == len(keys) * (ENTRY_HEAD_BYTES + len(keys[0]))


def test_keys_that_are_armed_over_and_over_do_not_fill_the_memory():
    index = Deadlines()
    for times in range(1, 20_000):
        index.arm(b"a", BUCKET_MS + 20_000 - times)
        index.arm(b"b", BUCKET_MS + 20_000 + times)
        assert index.distant_bytes <= COMPACT_BYTES
    assert index.take_passed(BUCKET_MS + 2) == [b"a"]
    assert index.take_passed(BUCKET_MS + 20_002) == [b"b"]
    assert index.next_ms is None


def test_many_keys_that_are_armed_over_and_over_take_a_few_times_what_they_take_once():
    keys = numbered_keys(3_000)
    once_bytes = len(keys) * (ENTRY_HEAD_BYTES + len(keys[0]))
    assert once_bytes > COMPACT_BYTES
    index = armed(*((key, BUCKET_MS) for key in keys * 20))
    assert index.distant_bytes <= COMPACT_FACTOR * once_bytes + ENTRY_HEAD_BYTES + len(keys[0])
    assert index.take_passed(BUCKET_MS + 1) == keys


def test_keys_that_are_added_at_once_are_not_looked_through_again_for_the_next_one():
    keys = numbered_keys(4_000)
    index = Deadlines()
    index.load((key, BUCKET_MS) for key in [*keys, *keys])
    index.arm(b"another", BUCKET_MS + 1)
    assert index.distant_bytes == 2 * len(keys) * (ENTRY_HEAD_BYTES + len(keys[0])) + ENTRY_HEAD_BYTES + len(b"another")
    assert index.take_passed(BUCKET_MS + 2) == [*keys, b"another"]


def test_a_bucket_is_looked_through_only_once_it_has_grown_beyond_a_size():
    entry_bytes = ENTRY_HEAD_BYTES + len(b"a")
    for begin in (Deadlines.load, Deadlines.add):
        index = Deadlines(compact_bytes=2 * entry_bytes)
        begin(index, [(b"a", BUCKET_MS), (b"b", BUCKET_MS)])
        assert index.distant_bytes == 2 * entry_bytes
        index.arm(b"a", BUCKET_MS)
        assert index.distant_bytes == 2 * entry_bytes
    index = Deadlines()
    index.load([(b"a", BUCKET_MS)])
    for _ in range(20):
        index.arm(b"a", BUCKET_MS)
    assert index.distant_bytes == 21 * entry_bytes


def test_keys_that_are_added_to_buckets_that_have_begun_come_up_in_time():
    index = armed((b"a", BUCKET_MS + 1))
    assert index.take_passed(BUCKET_MS + 2) == [b"a"]
    index.add([(b"c", BUCKET_MS + 9), (b"b", BUCKET_MS + 3), (b"d", 7 * BUCKET_MS)])
    assert index.next_ms == BUCKET_MS + 3
    assert index.take_passed(BUCKET_MS + 10) == [b"b", b"c"]
    assert index.next_ms == 7 * BUCKET_MS


def test_a_session_that_is_prolonged_over_and_over_keeps_its_one_entry():
    log = Log(Rules())
    for minute in range(20):
        log.session("s", START_MS + minute * MINUTE_MS)
    log.fold()
    assert log.partition.deadlines.distant_bytes == ENTRY_HEAD_BYTES + len(b"s")


def test_an_open_session_keeps_its_one_entry_when_it_takes_its_first_event_with_an_id():
    log = Log(Rules())
    log.session("s")
    log.event("s", event_id="a")
    log.fold()
    assert log.partition.deadlines.distant_bytes == ENTRY_HEAD_BYTES + len(b"s")


def test_a_session_whose_timeout_becomes_shorter_closes_at_the_sooner_deadline():
    log = Log(Rules())
    log.session("s", START_MS, timeout_seconds=3_600)
    log.session("s", START_MS + 1, timeout_seconds=60)
    log.tick(START_MS + 1 + 60_001)
    (closed,) = [row for row in rows(log.fold().sessions) if row["close_reason"]]
    assert closed["close_reason"] == "timeout"


def test_a_closed_session_that_takes_its_first_event_with_an_id_forgets_it_after_the_window():
    rules = Rules(duplicate_window_ms=60 * MINUTE_MS)
    log = Log(rules)
    log.event("s")
    log.expire("s")
    log.event("s", START_MS + 40 * MINUTE_MS, event_id="late", envelope={"passive": True})
    log.fold()
    state = log.table[b"s"].state
    assert (state.sequence, bool(state.recent)) == (2, True)
    log.tick(START_MS + 40 * MINUTE_MS + rules.memory_ms + 1)
    log.fold()
    assert log.table[b"s"].state.recent == b""


def test_late_events_of_a_closed_session_that_remembers_some_take_no_entries():
    log = Log(Rules())
    log.event("s", event_id="in time")
    log.expire("s")
    log.fold()
    before_bytes = log.partition.deadlines.distant_bytes
    for minute in range(10):
        log.event("s", START_MS + minute * MINUTE_MS, event_id=f"late {minute}", envelope={"passive": True})
    log.fold()
    assert log.table[b"s"].state.sequence == 11
    assert log.partition.deadlines.distant_bytes == before_bytes


def test_a_session_that_is_ended_before_its_time_is_forgotten_after_its_retention_and_not_at_its_deadline():
    log = Log(Rules(closed_stub_retention_ms=MINUTE_MS))
    log.event("s")
    log.expire("s")
    log.tick(START_MS + MINUTE_MS + 1)
    assert log.fold().counts.stubs_removed == 1
