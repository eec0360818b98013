"""Rate limits hold for each sender, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.collect.access.rate_limits import RateLimits


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 12)), max_size=80))
def test_nobody_gets_more_than_the_rate_and_a_burst_and_waiting_helps(steps):
    limits = RateLimits(rate_per_second=5, burst=10)
    now, taken = 100.0, 0
    for pause, tokens in steps:
        now += pause
        wait = limits.take("a", tokens, now)
        if wait == 0:
            taken += min(tokens, 10)
        else:
            assert limits.take("a", tokens, now + wait + 1e-6) == 0
            now += wait + 1e-6
            taken += min(tokens, 10)
        assert taken <= 10 + 5 * (now - 100) + 1e-3


def test_senders_do_not_share_a_bucket_and_memory_is_bounded():
    limits = RateLimits(rate_per_second=1, burst=1, max_senders=10)
    assert limits.take("a", 1, 0.0) == 0
    assert limits.take("a", 1, 0.0) == pytest.approx(1)
    assert limits.take("b", 1, 0.0) == 0
    for number in range(1_000):
        limits.take(str(number), 1, 0.0)
    assert len(limits._full_at) + len(limits._older) <= 10


def test_a_sender_may_have_a_rate_of_its_own():
    limits = RateLimits(rate_per_second=1, burst=5)
    assert limits.take("a", 50, 0.0, rate_per_second=10) == 0
    assert limits.take("a", 10, 0.0, rate_per_second=10) == pytest.approx(1)
