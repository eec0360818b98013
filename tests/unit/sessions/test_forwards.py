"""Records in the wrong partition go to the right one, and count there once."""

import pytest

from tests.sessions_log import START_MS, Log, Record, rows
from topics.headers import FORWARD_SEAL, FORWARDED_FROM, LogPlace, read_forwarded_from
from tracker.sessions.forwards import MAX_CARRIED_HEADERS_BYTES, ForwardSeal
from tracker.sessions.keys import missing_event_id
from tracker.sessions.outputs import FoldResult
from tracker.sessions.rules import Rules

HOME, WRONG = 1, 3


def home_of(key: bytes) -> int:
    """Keys that begin with an h are at home in partition 1, all others in 3."""
    return HOME if key.startswith(b"h") else WRONG


def wrong_partition(rules: Rules | None = None) -> Log:
    return Log(rules, number=WRONG, partition_of=home_of)


def deliver(result: FoldResult, home: Log) -> None:
    """Append what was forwarded to the log of its home."""
    for forward in result.forwards:
        assert forward.partition == home.number
        home.raw(forward.key, forward.value, forward.timestamp_ms, forward.headers)


def test_a_record_whose_key_belongs_elsewhere_is_forwarded_as_it_came_and_not_folded():
    log = wrong_partition()
    log.event("own", event_id="a")
    log.event("h", event_id="b", at=START_MS + 7)
    headers = [("producer-client-id", b"checkout"), ("traceparent", b"00-1-1-01")]
    log.records[1] = log.records[1]._replace(headers=headers)
    result = log.fold()
    (forward,) = result.forwards
    assert (forward.partition, forward.key, forward.value) == (HOME, b"h", log.records[1].value)
    seal = ForwardSeal().of(LogPlace(3, 1), b"h", forward.value)
    assert forward.headers == [*headers, (FORWARDED_FROM, b"3:1"), (FORWARD_SEAL, seal)]
    assert forward.timestamp_ms == START_MS + 7
    assert (result.counts.forwarded, len(result.events), list(result.changed)) == (1, 1, [b"own"])


@pytest.mark.parametrize("are_too_many", [False, True])
def test_headers_go_with_it_up_to_a_size_and_beyond_it_none_do(are_too_many: bool):
    log = wrong_partition()
    log.event("h")
    headers = [("none", None), ("empty", b""), ("rest", b"")]
    room = MAX_CARRIED_HEADERS_BYTES - sum(len(name) for name, _ in headers)
    headers[-1] = ("rest", b"x" * (room + are_too_many))
    log.records[0] = log.records[0]._replace(headers=headers)
    (forward,) = log.fold().forwards
    carried = [] if are_too_many else headers
    assert forward.headers[:-2] == carried
    assert [name for name, _ in forward.headers[-2:]] == [FORWARDED_FROM, FORWARD_SEAL]


@pytest.mark.parametrize("kind", ["event", "session", "expire", "flush"])
def test_every_kind_of_keyed_record_is_forwarded(kind: str):
    log = wrong_partition()
    getattr(log, kind)("h")
    result = log.fold()
    assert len(result.forwards) == 1
    assert result.events == result.sessions == []


def test_a_forward_that_was_sent_twice_counts_once_however_many_came_between():
    """Also without event ids, beyond the duplicate window, and for records that are no events."""
    log, home = wrong_partition(), Log(Rules(duplicate_window_ms=0), number=HOME, partition_of=home_of)
    log.session("h", user_id="u")
    for _ in range(5):
        log.event("h")
    log.expire("h")
    log.event("h")
    result = log.fold()
    deliver(result, home)
    deliver(result, home)
    folded = home.fold()
    assert [r["session_event_sequence"] for r in rows(folded.events)] == [1, 2, 3, 4, 5, 1]
    assert [r["close_reason"] for r in rows(folded.sessions)] == ["", "expired", ""]
    assert folded.counts.forwarded_again == 8


def test_a_repetition_that_begins_later_or_comes_from_a_zombie_meanwhile_counts_once():
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    for name in "abcd":
        log.event("h", event_id=name)
    forwards = log.fold().forwards
    for picked in (0, 0, 1, 2, 1, 3, 2, 3):
        deliver(FoldResult(forwards=[forwards[picked]]), home)
    assert [r["event_id"] for r in rows(home.fold().events)] == list("abcd")


def test_what_was_taken_is_known_after_a_recovery():
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    log.event("h")
    result = log.fold()
    deliver(result, home)
    home.fold()
    home.recover()
    deliver(result, home)
    assert home.fold().counts.forwarded_again == 1


def test_the_id_of_an_event_that_has_none_is_made_of_the_place_where_it_stood_first():
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    log.tick(START_MS)
    log.event("h")
    deliver(log.fold(), home)
    (row,) = rows(home.fold().events)
    assert row["event_id"] == missing_event_id("h", WRONG, 1)


def sealed(record: Record, place: LogPlace, seal: ForwardSeal | None = None) -> Record:
    """The record as a processor forwards it from a place."""
    assert record.key is not None
    proof = (seal or ForwardSeal()).of(place, record.key, record.value)
    return record._replace(headers=((FORWARDED_FROM, place.encode()), (FORWARD_SEAL, proof)))


def test_a_record_is_forwarded_once_at_most():
    log = wrong_partition()
    log.event("h")
    log.records[0] = sealed(log.records[0], LogPlace(0, 5))
    result = log.fold()
    assert result.forwards == []
    assert [(r["reason"], r["source_offset"]) for r in rows(result.dead_letters)] == [("misrouted", 0)]


def test_a_record_that_is_not_ours_becomes_a_dead_letter_where_it_stands():
    log = wrong_partition()
    log.raw(b"h", b"{}")
    result = log.fold()
    assert (result.forwards, len(result.dead_letters)) == ([], 1)


FORGED = [
    (FORWARDED_FROM, b"3:9999999"),
    (FORWARDED_FROM, b"0:99999999999999999999999999"),
    (FORWARDED_FROM, b"2147483647:9223372036854775807"),
]


@pytest.mark.parametrize("header", FORGED)
@pytest.mark.parametrize("seal", [None, b"", b"x" * 16])
def test_a_made_up_marker_drops_nothing_that_was_really_forwarded_and_its_own_record_is_an_ordinary_one(header, seal):
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    for name in "abc":
        log.event("h", event_id=name)
    home.event("h", event_id="forger")
    headers = (header,) if seal is None else (header, (FORWARD_SEAL, seal))
    home.records[0] = home.records[0]._replace(headers=headers)
    deliver(log.fold(), home)
    result = home.fold()
    assert [r["event_id"] for r in rows(result.events)] == ["forger", "a", "b", "c"]
    assert result.dead_letters == []
    assert home.partition.mark.forwarded == {WRONG: 2}


def test_a_record_with_a_made_up_marker_in_the_wrong_partition_is_forwarded_as_any_other():
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    log.event("h", event_id="a")
    log.records[0] = log.records[0]._replace(headers=((FORWARDED_FROM, b"1:7"), (FORWARD_SEAL, b"mine")))
    deliver(log.fold(), home)
    assert [r["event_id"] for r in rows(home.fold().events)] == ["a"]
    assert home.partition.mark.forwarded == {WRONG: 0}


def test_made_up_partitions_leave_nothing_behind():
    home = Log(number=HOME, partition_of=home_of)
    for number in range(1_000):
        home.event("h", event_id=str(number))
        home.records[-1] = home.records[-1]._replace(headers=((FORWARDED_FROM, b"%d:1" % number),))
    assert len(home.fold().events) == 1_000
    assert home.partition.mark.forwarded == {}


def test_a_seal_is_for_one_place_one_key_and_one_value_and_of_one_secret():
    seal, place = ForwardSeal("s3cret"), LogPlace(3, 17)
    headers = [(FORWARD_SEAL, seal.of(place, b"key", b"value"))]
    assert seal.holds(headers, place, b"key", b"value")
    assert not seal.holds(headers, LogPlace(3, 18), b"key", b"value")
    assert not seal.holds(headers, place, b"keyv", b"alue")
    assert not seal.holds(headers, place, b"key", b"value2")
    assert not ForwardSeal("other").holds(headers, place, b"key", b"value")
    assert not seal.holds([], place, b"key", b"value")


def test_a_seal_is_what_it_was_in_every_release_that_has_made_one():
    assert ForwardSeal("s3cret").of(LogPlace(3, 17), b"key", b"value").hex() == "2fc847bc5c1e30247c6b89a30ea611d8"
    assert ForwardSeal().of(LogPlace(3, 17), b"key", None) == ForwardSeal().of(LogPlace(3, 17), b"key", b"")


def test_as_long_as_workers_of_the_release_before_are_in_the_group_their_markers_count():
    home = Log(Rules(layout=2), number=HOME, partition_of=home_of)
    for _ in range(2):
        home.event("h")
        home.records[-1] = home.records[-1]._replace(headers=((FORWARDED_FROM, b"3:5"),))
    assert len(home.fold().events) == 1


@pytest.mark.parametrize(
    "value",
    [b"", b"3", b"3:", b":4", b"x:4", b"3:-4", b"3:" + b"9" * 40, b"3:9223372036854775808", b"2147483648:1", None],
)
def test_a_place_that_makes_no_sense_is_none(value: bytes | None):
    assert read_forwarded_from([(FORWARDED_FROM, value)]) is None


def test_a_place_is_read_as_it_was_written():
    assert read_forwarded_from([("x", b"y"), (FORWARDED_FROM, LogPlace(3, 4).encode())]) == LogPlace(3, 4)


def test_a_replay_of_the_whole_log_folds_the_copy_only():
    log, home = wrong_partition(), Log(number=HOME, partition_of=home_of)
    log.event("h", event_id="a")
    deliver(log.fold(), home)
    first = [output.value for output in home.fold().events]
    again = Log(number=HOME, partition_of=home_of)
    again.records = [Record(*record) for record in home.records]
    assert [output.value for output in again.fold().events] == first
