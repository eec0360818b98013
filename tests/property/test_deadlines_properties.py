"""The deadline index against the plain truth: a dictionary that is scanned."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.sessions.deadlines import BUCKET_MS, Deadlines

#: Close together, and across buckets and their edges.
TIMES = st.integers(min_value=0, max_value=100) | st.integers(min_value=0, max_value=5 * BUCKET_MS)
TIMES |= st.sampled_from([BUCKET_MS - 1, BUCKET_MS, BUCKET_MS + 1])
KEYS = st.sampled_from([b"a", b"b", b"", b"d" * 300])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deadline"), KEYS, TIMES),
        st.tuples(st.just("pass"), st.none(), TIMES),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0, 30, 16_384]))
def test_nothing_is_late_and_nothing_is_lost(steps, compact_bytes: int):
    """As the fold uses it: what comes up early is armed again with its true deadline."""
    index, truth, now = Deadlines(compact_bytes), {}, 0
    for kind, key, value in steps:
        if kind == "deadline":
            set_deadline(index, truth, key, value)
            continue
        now = max(now, value)
        let_pass(index, truth, now)
        assert not truth or index.next_ms <= min(truth.values())
    while index.next_ms is not None:
        let_pass(index, truth, index.next_ms + 1)
    assert not truth


def let_pass(index: Deadlines, truth: dict[bytes, int], now: int) -> None:
    passed = index.take_passed(now)
    assert len(passed) == len(set(passed))
    assert set(passed) >= {key for key, deadline in truth.items() if deadline < now}
    for due in set(passed) & truth.keys():
        if truth[due] < now:
            del truth[due]
        else:
            index.arm(due, truth[due])


def set_deadline(index: Deadlines, truth: dict[bytes, int], key: bytes, deadline_ms: int) -> None:
    if key in truth:
        index.rearm(key, truth[key], deadline_ms)
    else:
        index.arm(key, deadline_ms)
    truth[key] = deadline_ms


def test_loading_replaces_what_was_there():
    index = Deadlines()
    index.arm(b"old", 1)
    index.arm(b"old and distant", 2 * BUCKET_MS)
    index.take_passed(2)
    index.load([(b"a", 5), (b"b", 3)])
    assert index.next_ms == 3
    assert index.take_passed(10) == [b"b", b"a"]
    assert index.next_ms is None
