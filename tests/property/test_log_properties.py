"""What holds of a log as a whole: prefixes, crashes and what they repeat, time, forwards and caps."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.property.session_logs import CUTS, LOGS, RULES, write
from tests.property.test_fold_properties import joined, outputs
from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from topics.headers import read_position
from tracker.process.ticks import is_due
from tracker.sessions.layouts import decode_state, encode_state
from tracker.sessions.outputs import FoldResult, Output
from tracker.sessions.rules import Rules
from tracker.sessions.working_table import Row
from tracker.sink.positions import SeenPositions

TICK_MS = 1_000


@given(LOGS, CUTS)
def test_what_a_prefix_gives_is_the_prefix_of_what_the_log_gives(steps, cut):
    whole, prefix = write(steps), write(steps)
    cut = min(cut, len(whole.records))
    for long, short in zip(outputs(whole.fold()), outputs(prefix.fold(cut)), strict=True):
        assert long[: len(short)] == short


def filtered(kind: list[Output]) -> list[Output]:
    """What a consumer keeps: its filter, as the sink has it."""
    seen = SeenPositions("")
    return [output for output in kind if seen.is_new(read_position(output.headers))]


@given(LOGS, CUTS, CUTS, st.data())
def test_a_crash_anywhere_repeats_outputs_but_adds_and_changes_none(steps, begin, end, data):
    """The outputs of a chunk were acked, and any part of its states written, when the process died; W was not."""
    clean, struck = write(steps), write(steps)
    begin, end = sorted((min(begin, len(struck.records)), min(end, len(struck.records))))
    results = [struck.fold(begin)]
    before = {key: (stored.offset, encode_state(stored.offset, stored.state)) for key, stored in struck.table.items()}
    mark = struck.partition.mark
    results.append(struck.fold(end))
    # Removals and W are written last, in one batch: they are never among those that were written without W.
    written = [key for key, changed in results[-1].changed.items() if changed.state is not None]
    kept = set(data.draw(st.lists(st.sampled_from(written), unique=True))) if written else set()
    old = {key: Row(key, decode_state(raw), offset) for key, (offset, raw) in before.items() if key not in kept}
    struck.table = {**old, **{key: struck.table[key] for key in kept if key in struck.table}}
    struck.recover(mark)
    struck.go_back_to(begin)
    results.append(struck.fold())
    for repeated, expected in zip(joined(results), outputs(clean.fold()), strict=True):
        assert filtered(repeated) == expected


class TickedLease:
    """What ``is_due`` asks of a lease."""

    alive, chunks_in_flight = True, 0

    def __init__(self, log: Log) -> None:
        self.fold = log.partition
        self.store = type("Store", (), {"overwritten": ()})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(min_value=0, max_value=90_000)), max_size=12))
def test_a_session_is_closed_after_its_deadline_and_at_most_a_tick_later(events):
    log, now, closed = Log(RULES), START_MS, {}
    for key, gap in [*events, ("z", 3 * MINUTE_MS)]:
        # The owner looks once a tick, until the next event comes.
        for at in range(now + TICK_MS, now + gap, TICK_MS):
            if is_due(TickedLease(log), at):
                log.tick(at)
                closed.update(_closed_at(log.fold(), at))
        now += gap
        log.event(key, now)
        closed.update(_closed_at(log.fold(), now))
    for deadline, at in closed.values():
        assert deadline < at <= deadline + TICK_MS


def _closed_at(result: FoldResult, now: int) -> dict[tuple[str, int], tuple[int, int]]:
    """By session and version: the deadline that a closing row names, and when it went out. Milliseconds."""
    found = {}
    for row in rows(result.sessions):
        if row["close_reason"] == "timeout":
            deadline = _ms(row["last_activity_at"]) + row["session_timeout_seconds"] * 1000
            assert _ms(row["closed_at"]) == deadline
            found[row["session_id"], row["version"]] = (deadline, now)
    return found


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["event", "session", "expire"])), max_size=25),
    st.lists(st.integers(min_value=0, max_value=25), max_size=6),
)
def test_records_of_another_partition_count_once_however_often_they_are_forwarded(sent, crashes):
    """Records of one key stand in its own partition and in another, whose owner dies again and again after sending."""
    home_of = lambda _: 1  # noqa: E731 - every key is at home in partition 1
    rules = replace(RULES, duplicate_window_ms=0)
    home, other = Log(rules, number=1, partition_of=home_of), Log(rules, number=0, partition_of=home_of)
    for is_home, kind in sent:
        getattr(home if is_home else other, kind)("k")
    forwards = other.fold().forwards
    assert len(forwards) == len(other.records)
    # Each run begins at W, which lies at or before what was sent last, and sends in order.
    watermark = 0
    for stop in [*crashes, len(forwards)]:
        for forward in forwards[watermark:stop]:
            home.raw(forward.key, forward.value, START_MS, forward.headers)
        watermark = max(watermark, min(stop, len(forwards)) // 2)
    for forward in forwards[watermark:]:
        home.raw(forward.key, forward.value, START_MS, forward.headers)
    counts = home.fold().counts
    kinds = Counter(kind for _, kind in sent)
    assert (counts.events, counts.sessions, counts.expires) == (kinds["event"], kinds["session"], kinds["expire"])
    assert counts.duplicates == 0


@given(st.lists(st.sampled_from("ab"), max_size=40), st.integers(min_value=1, max_value=5))
def test_no_session_goes_beyond_its_cap_and_no_event_is_lost_to_it(keys, cap):
    log = Log(Rules(max_events=cap))
    for key in keys:
        log.event(key)
    result = log.fold()
    numbers = defaultdict(list)
    for row in rows(result.events):
        numbers[row["workspace_id"], row["session_id"]].append(row["session_event_sequence"])
    assert sum(map(len, numbers.values())) == len(keys)
    assert all(found == list(range(1, len(found) + 1)) and len(found) <= cap for found in numbers.values())
    capped = [row for row in rows(result.sessions) if row["close_reason"] == "cap"]
    assert {row["event_count"] for row in capped} <= {cap}
    assert len(capped) == sum(len(found) == cap for found in numbers.values())


@given(LOGS)
def test_no_output_is_made_twice_by_one_log(steps):
    for kind in outputs(write(steps).fold()):
        positions = [read_position(output.headers) for output in kind]
        assert len(set(positions)) == len(positions)
