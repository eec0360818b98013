"""What the server's headers leave us, whatever they say."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.tinybird.answers import RateLimit
from tracker.tinybird.pacing import Allowance

remaining = st.integers(0, 50)
resets = st.floats(0.01, 120)


@given(remaining, st.integers(0, 60), resets)
def test_no_more_requests_go_than_remain_before_the_reset(remaining: int, under_way: int, reset: float):
    allowance, now = Allowance(), 100.0
    allowance.tell(RateLimit(remaining, reset), under_way, now)
    went = 0
    while allowance.wait_seconds(now) == 0 and went <= remaining:
        allowance.take(now)
        went += 1
    assert went == max(0, remaining - under_way)
    assert allowance.wait_seconds(now) == (now + reset) - now


@given(remaining, resets)
def test_after_the_reset_all_may_go_until_an_answer_says_otherwise(remaining: int, reset: float):
    allowance, now = Allowance(), 100.0
    allowance.tell(RateLimit(remaining, reset), 0, now)
    later = now + reset
    for _ in range(remaining + 10):
        assert allowance.wait_seconds(later) == 0
        allowance.take(later)
