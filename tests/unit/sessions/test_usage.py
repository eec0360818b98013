"""Usage is counted once for each workspace and minute, however the log is cut and whoever is killed."""

import orjson
import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from topics.fields import MAX_ID_CHARS
from topics.headers import SourcePosition, read_position
from tracker.sessions.layouts import decode_usage, encode_usage
from tracker.sessions.outputs import FoldResult, Output
from tracker.sessions.rules import Rules
from tracker.sessions.usage import MAX_WORKSPACES

RULES = Rules(usage_interval_ms=MINUTE_MS)
COUNTS = ("events", "sessions", "bytes", "rejected", "duplicates")


def counts(outputs: list[Output]) -> dict[tuple[str, str], tuple[int, ...]]:
    """The counts by workspace and minute."""
    return {
        (row["workspace_id"], row["minute"][11:16]): tuple(row[name] for name in COUNTS)
        for row in rows(outputs)
    }  # fmt: skip


def visited(minutes: int = 3) -> Log:
    """A log of two workspaces: each minute an event in one, and a session, an event and a duplicate in the other."""
    log = Log(RULES)
    for minute in range(minutes):
        at = START_MS + minute * MINUTE_MS
        log.event(f"a{minute}", at, workspace_id="shop", event_id="e")
        log.session(f"b{minute}", at + 1, workspace_id="lab")
        log.event(f"b{minute}", at + 2, event_id="e")
        log.event(f"b{minute}", at + 3, event_id="e")
    log.tick(START_MS + minutes * MINUTE_MS)
    return log


def sizes(log: Log, *offsets: int) -> int:
    return sum(len(log.records[at].key or b"") + len(log.records[at].value or b"") for at in offsets)


def test_each_minute_gives_one_row_a_workspace_by_the_first_record_after_it():
    log = visited(1)
    assert log.fold(upto=4).usage == []
    result = log.fold()
    assert counts(result.usage) == {
        ("shop", "00:00"): (1, 1, sizes(log, 0), 0, 0),
        ("lab", "00:00"): (1, 1, sizes(log, 1, 2), 0, 1),  # an event without a workspace belongs to its session's
    }
    assert {(row["source_topic"], row["source_partition"], row["version"]) for row in rows(result.usage)} == {
        ("tracker.events", 3, 4)
    }


def test_a_row_of_usage_has_its_workspace_as_the_key_and_the_place_of_the_record_that_put_it_out():
    log = Log(RULES)
    for workspace in ("shop", "", "lab"):
        log.event(f"of {workspace}", workspace_id=workspace)
    log.tick(START_MS + MINUTE_MS)
    found = log.fold().usage
    assert [output.key for output in found] == [None, b"lab", b"shop"]
    assert [read_position(output.headers) for output in found] == [SourcePosition(3, nth) for nth in range(3)]


def test_counts_add_up_within_their_minute_whenever_in_it_they_begin():
    log = Log(RULES)
    for second in (7, 20, 59):
        log.event("s", START_MS + second * 1_000, workspace_id="shop")
        log.session("s", START_MS + second * 1_000, user_id="u")
    log.event("s", START_MS + MINUTE_MS, workspace_id="shop")
    log.tick(START_MS + 2 * MINUTE_MS - 1)
    result = log.fold()
    assert counts(result.usage) == {("shop", "00:00"): (3, 1, sizes(log, *range(6)), 0, 0)}
    log.tick(START_MS + 2 * MINUTE_MS)
    assert counts(log.fold().usage) == {("shop", "00:01"): (1, 0, sizes(log, 6), 0, 0)}


def test_a_duplicate_counts_for_the_workspace_that_it_names():
    log = Log(RULES)
    for workspace in ("", "shop", ""):
        log.event("s", event_id="a", envelope={"workspace_id": workspace})
    log.tick(START_MS + MINUTE_MS)
    found = {workspace: count[-1] for (workspace, _), count in counts(log.fold().usage).items()}
    assert found == {"": 1, "shop": 1}


def test_minutes_in_which_no_record_comes_give_no_rows():
    log = Log(RULES)
    log.event("s", workspace_id="shop")
    for minute in (1, 2, 3):
        log.tick(START_MS + minute * MINUTE_MS)
    assert counts(log.fold().usage) == {("shop", "00:00"): (1, 1, sizes(log, 0), 0, 0)}


def test_a_rejected_record_counts_for_the_workspace_that_it_names():
    log = Log(RULES)
    log.raw(b"a", orjson.dumps({"type": "dance", "workspace_id": "y" * MAX_ID_CHARS}))
    log.raw(b"a", None)
    log.raw(b"a", b'{"type":"dance","workspace_id":"shop"}')
    log.raw(b"a", b'{"type":"dance","data":{"workspace_id":"shop"}}')
    log.raw(b"a", orjson.dumps({"type": "dance", "workspace_id": "x" * (MAX_ID_CHARS + 1)}))
    log.raw(b"a", b'{"workspace_id":7}')
    log.raw(b"a", b"\xff")
    log.tick(START_MS + MINUTE_MS)
    assert counts(log.fold().usage) == {
        ("shop", "00:00"): (0, 0, 0, 2, 0),
        ("y" * MAX_ID_CHARS, "00:00"): (0, 0, 0, 1, 0),
        ("", "00:00"): (0, 0, 0, 4, 0),
    }


@pytest.mark.parametrize("step", [1, 2, 5])
def test_where_chunks_are_cut_changes_nothing(step: int):
    whole, cut = visited(), visited()
    found = [output for end in range(step, len(cut.records) + step, step) for output in cut.fold(upto=end).usage]
    assert found == whole.fold().usage
    assert len(found) == 6


def resumed(log: Log, result: FoldResult) -> None:
    """Another worker takes over what a chunk has written down."""
    log.recover()
    written = encode_usage(result.usage_offset, result.usage_mark)
    log.partition.usage.resume(result.usage_offset, decode_usage(written))


@pytest.mark.parametrize("are_states_written", [True, False])
@pytest.mark.parametrize("killed_after", range(1, 12))
def test_a_record_that_is_folded_again_after_a_kill_is_not_counted_again(killed_after: int, are_states_written: bool):
    """Counts are written in front of the states, and the watermark behind them."""
    whole, log = visited(), visited()
    before = log.partition.mark
    first = log.fold(upto=killed_after)
    if not are_states_written:
        log.table.clear()
    log.recover(before)
    log.partition.usage.resume(first.usage_offset, decode_usage(encode_usage(0, first.usage_mark)))
    log.go_back_to(0)
    assert first.usage + log.fold().usage == whole.fold().usage


def test_a_chunk_that_was_not_written_is_counted_as_if_it_came_first():
    whole, log = visited(), visited()
    log.fold(upto=6)
    log.table.clear()
    log.partition = log._new_fold(Log(RULES).partition.mark)
    log.go_back_to(0)
    assert log.fold().usage == whole.fold().usage


def test_the_next_worker_goes_on_with_the_minute():
    whole, log = visited(1), visited(1)
    resumed(log, log.fold(upto=2))
    assert log.fold().usage == whole.fold().usage


def test_more_workspaces_than_are_counted_at_a_time_are_put_out_before_and_lose_nothing():
    log = Log(RULES)
    for number in range(MAX_WORKSPACES + 1):
        log.event(f"a{number}", workspace_id=f"w{number}")
    log.event("a0", workspace_id="w0")
    log.tick(START_MS + MINUTE_MS)
    result = log.fold()
    found = [(row["workspace_id"], row["version"], row["events"]) for row in rows(result.usage)]
    assert len(found) == MAX_WORKSPACES + 2
    assert [row for row in found if row[0] == "w0"] == [("w0", MAX_WORKSPACES, 1), ("w0", MAX_WORKSPACES + 2, 1)]
    assert len(result.usage_mark.counts) == 0


@pytest.mark.parametrize(
    "rules", [Rules(), Rules(usage_interval_ms=MINUTE_MS, layout=2), Rules(usage_interval_ms=1, keys_are_used=True)]
)
def test_nothing_is_counted_where_it_is_off_beside_0_1_0_and_in_an_import(rules: Rules):
    log = visited()
    log.rules = rules
    log.partition = log._new_fold(log.partition.mark)
    result = log.fold()
    assert (result.usage, result.usage_offset) == ([], -1)
    assert result.events


def test_the_order_of_other_outputs_is_the_same_with_and_without():
    on, off = visited(), visited()
    off.rules = Rules()
    off.partition = off._new_fold(off.partition.mark)
    found, wanted = on.fold(), off.fold()
    assert (found.events, found.sessions, found.dead_letters) == (wanted.events, wanted.sessions, wanted.dead_letters)
