"""States of the release before are read, and written for as long as workers of it are in the group."""

import msgspec
import pytest

from tests.sessions_log import START_MS, Log, rows
from tracker.sessions.layouts import (
    UnknownLayoutError,
    decode_lifetime,
    decode_state,
    decode_watermark,
    encode_state,
    encode_watermark,
    layout_of,
    offset_of,
)
from tracker.sessions.rules import Rules
from tracker.sessions.state import FORGOTTEN, SessionState, Watermark, forgotten

KEY = "visitor-1"
#: As 0.1.0 wrote it: eight bytes of the offset, and an array of session id, ordinal, times, number, end, context,
#: fingerprints of event ids and visitor.
EVENT_ID_HASHES = bytes(range(16))
WRITTEN_BY_0_1_0 = (7).to_bytes(8, "big") + msgspec.msgpack.encode(
    [KEY, 1, 1_000, 2_000, 1_800_000, 2, 0, "", {"user_id": "alice"}, EVENT_ID_HASHES, {"country": "DE"}]
)
WATERMARK_OF_0_1_0 = (9).to_bytes(8, "big") + msgspec.msgpack.encode([5_000, 2, {3: 4}])


def test_a_state_of_the_release_before_is_read_whole():
    state = decode_state(WRITTEN_BY_0_1_0)
    assert (offset_of(WRITTEN_BY_0_1_0), layout_of(WRITTEN_BY_0_1_0)) == (7, 2)
    assert (state.session_id, state.ordinal, state.sequence, state.context) == (KEY, 1, 2, {"user_id": "alice"})
    assert (state.visitor, state.remembered_ms) == ({"country": "DE"}, 2_000)
    assert decode_lifetime(WRITTEN_BY_0_1_0).deadline_ms(Rules()) == state.deadline_ms(Rules())
    assert decode_watermark(WATERMARK_OF_0_1_0) == Watermark(stream_time_ms=5_000, layout=2, forwarded={3: 4})


@pytest.mark.parametrize("hashes", [EVENT_ID_HASHES, b""])
def test_a_closed_session_of_the_release_before_comes_up_when_its_event_ids_are_out_of_the_window(hashes: bytes):
    """The ids are not read for the deadline alone: there may be some, and a deadline may be early but never late."""
    closed = [KEY, 1, 1_000, 2_000, 1_800_000, 2, 5_000, "expired", {}, hashes, {}]
    value = (7).to_bytes(8, "big") + msgspec.msgpack.encode(closed)
    rules = Rules()
    forgets_ids_ms, goes_ms = 2_000 + rules.memory_ms, 5_000 + rules.closed_stub_retention_ms
    assert decode_lifetime(value).deadline_ms(rules) == forgets_ids_ms
    assert decode_state(value).deadline_ms(rules) == (forgets_ids_ms if hashes else goes_ms)
    assert decode_state(value).deadline_ms(Rules(layout=2)) == goes_ms  # a worker of 0.1.0 keeps them as long


def test_beside_workers_of_the_release_before_only_a_session_that_may_go_on_keeps_its_visitor_for_the_next():
    log = Log(Rules(layout=2, max_events=2))
    for key in ("capped", "expired"):
        log.event(key, visitor={"country": "DE"})
    log.event("capped")
    log.expire("expired")
    log.fold()
    held = {key: decode_state(encode_state(0, row.state, layout=2)).visitor for key, row in log.table.items()}
    assert held == {b"capped": {"country": "DE"}, b"expired": {}}


@pytest.mark.parametrize("named", [{"workspace_id": "w1"}, {"envelope": {"workspace_id": "w1"}}])
def test_beside_workers_of_the_release_before_a_session_record_names_the_workspace_of_an_open_session(named):
    log = Log(Rules(layout=2))
    log.event(KEY)
    log.session(KEY, **named)
    log.event(KEY)
    result = log.fold()
    assert [(row["workspace_id"], row["close_reason"]) for row in rows(result.sessions)] == [("", ""), ("w1", "")]
    assert [(row["workspace_id"], row["session_event_sequence"]) for row in rows(result.events)] == [("", 1), ("w1", 2)]


@pytest.mark.parametrize("kind", ["event", "session"])
@pytest.mark.parametrize("policy", ["keep", "split"])
def test_beside_workers_of_the_release_before_no_session_has_touches_or_ends_by_a_campaign(kind: str, policy: str):
    log = Log(Rules(layout=2, campaign_change=policy))
    for source in ("mail", "ads"):
        getattr(log, kind)(KEY, visitor={"utm_source": source})
    log.expire(KEY)
    found = [(row["utm_source"], row["touches"], row["close_reason"]) for row in rows(log.fold().sessions)]
    assert found == [("mail", "[]", ""), ("mail", "[]", "expired")]


def test_beside_workers_of_the_release_before_an_event_keeps_the_workspace_that_it_names():
    log = Log(Rules(layout=2))
    for named in ({"workspace_id": "w1"}, {"workspace_id": "w2"}, {}, {"envelope": {"workspace_id": "w3"}}):
        log.event(KEY, **named)
    found = [(row["workspace_id"], row["session_event_sequence"]) for row in rows(log.fold().events)]
    assert found == [("w1", 1), ("w2", 2), ("w1", 3), ("w3", 4)]


@pytest.mark.parametrize("workspace", ["w1", "w2", ""])
def test_beside_workers_of_the_release_before_the_next_session_of_a_key_has_a_derived_id_whosever_it_is(workspace: str):
    log = Log(Rules(layout=2))
    log.event(KEY, workspace_id="w1")
    log.expire(KEY)
    log.event(KEY, workspace_id=workspace)
    first, second = (row["session_id"] for row in rows(log.fold().events))
    assert first == KEY != second


def test_what_is_left_of_a_forgotten_key_says_when_and_nothing_of_its_session():
    said = {name: value for name, value in msgspec.structs.asdict(forgotten(START_MS)).items() if value}
    assert said == {"closed_ms": START_MS, "close_reason": FORGOTTEN}


@pytest.mark.parametrize("body", [b"\x90", b"\x03\x90", b"\x03", b"\x03\xc1"])
@pytest.mark.parametrize("decode", [decode_state, decode_lifetime, decode_watermark])
def test_bytes_that_are_no_state_are_told_from_those_of_a_later_release(decode, body: bytes):
    with pytest.raises(msgspec.DecodeError):
        decode((7).to_bytes(8, "big") + body)


def test_what_is_written_in_the_layout_of_the_release_before_is_byte_for_byte_its_own():
    assert encode_state(7, decode_state(WRITTEN_BY_0_1_0), layout=2) == WRITTEN_BY_0_1_0
    assert encode_watermark(9, decode_watermark(WATERMARK_OF_0_1_0)) == WATERMARK_OF_0_1_0


def test_a_state_goes_through_the_newest_layout_unchanged():
    log = Log(Rules(page_events=2))
    for number in range(5):
        log.event(KEY, event_id=f"e{number}", workspace_id="w1", visitor={"country": "DE"})
    log.fold()
    state = log.table[KEY.encode()].state
    raw = encode_state(3, state)
    assert (decode_state(raw), offset_of(raw), layout_of(raw)) == (state, 3, 3)
    assert decode_lifetime(raw).deadline_ms(log.rules) == state.deadline_ms(log.rules)


@pytest.mark.parametrize("decode", [decode_state, decode_lifetime, decode_watermark])
def test_what_a_later_release_has_written_is_refused_with_what_to_do(decode):
    value = (7).to_bytes(8, "big") + b"\x04" + msgspec.msgpack.encode([KEY])
    with pytest.raises(
        UnknownLayoutError,
        match=r"layout 4, written by a later release; this one reads 2 and 3: run that later release",
    ):
        decode(value)


def test_an_event_id_of_the_release_before_is_a_duplicate_whatever_its_content():
    old = Log(Rules(layout=2))
    old.event(KEY, event_id="a", event_value="1")
    old.fold()
    new = Log(Rules(layout=3))
    new.records = list(old.records)
    new.table = dict(old.table)
    for stored in new.table.values():
        stored.state = decode_state(encode_state(stored.offset, stored.state, layout=2))
    new.go_back_to(1)
    new.event(KEY, event_id="a", event_value="2")
    new.event(KEY, event_id="b", event_value="2")
    result = new.fold()
    assert ([row["event_id"] for row in rows(result.events)], result.counts.duplicates) == (["b"], 1)


def test_while_states_are_written_for_the_release_before_the_fold_keeps_to_what_it_can_carry_on():
    log = Log(Rules(layout=2))
    for number in range(200):
        log.event(KEY, event_id=f"e{number}", workspace_id="w1" if number % 2 else "w2")
    log.event(KEY, event_id="e100")
    log.event(KEY, event_id="e60")
    result = log.fold()
    state = log.table[KEY.encode()].state
    assert [*log.table] == [KEY.encode()]
    assert (log.pages, state.pages) == ({}, None)
    assert (result.counts.duplicates, rows(result.events)[-1]["session_event_sequence"]) == (1, 201)
    assert decode_state(encode_state(0, state, layout=2)) == msgspec.structs.replace(state, remembered_ms=START_MS)


def test_the_watermark_says_in_which_layout_its_partition_is_written():
    for layout in (2, 3):
        mark = Log(Rules(layout=layout)).partition.mark
        assert decode_watermark(encode_watermark(1, mark)).layout == layout == layout_of(encode_watermark(1, mark))


def test_a_state_has_defaults_for_what_the_release_before_did_not_know():
    state = SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=1, timeout_ms=1)
    assert (state.pages, state.remembered_ms, state.workspace_id) == (None, 0, "")
