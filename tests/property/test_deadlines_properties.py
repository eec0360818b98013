"""The deadline index against the plain truth: a dictionary that is scanned."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.sessions.deadlines import BUCKET_MS, Deadlines

#: Close together, and across buckets and their edges.
TIMES = st.integers(min_value=0, max_value=100) | st.integers(min_value=0, max_value=5 * BUCKET_MS)
TIMES |= st.sampled_from([BUCKET_MS - 1, BUCKET_MS, BUCKET_MS + 1])
KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deadline"), KEYS, TIMES),
        st.tuples(st.just("pass"), st.none(), TIMES),
    ),
    max_size=60,
)


@given(STEPS)
def test_nothing_is_late_and_nothing_is_lost(steps):
    """As the fold uses it: what comes up early is armed again with its true deadline."""
    index, truth, now = Deadlines(), {}, 0
    for kind, key, value in steps:
        if kind == "deadline":
            truth[key] = value
            index.arm(key, value)
            continue
        now = max(now, value)
        passed = set(index.take_passed(now))
        assert passed >= {key for key, deadline in truth.items() if deadline < now}
        for due in passed:
            if truth[due] < now:
                del truth[due]
            else:
                index.arm(due, truth[due])
        assert len(index) == len(truth)
        assert (index.next_ms is None) == (not truth)
        assert not truth or index.next_ms <= min(truth.values())


def test_loading_replaces_what_was_there():
    index = Deadlines()
    index.arm(b"old", 1)
    index.load({b"a": 5, b"b": 3})
    assert index.next_ms == 3
    assert index.take_passed(10) == [b"b", b"a"]
    assert index.next_ms is None
