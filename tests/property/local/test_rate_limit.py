"""The token bucket, for any pattern of requests."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tracker.local.tinybird.rate_limit import TokenBucket

limits = st.integers(1, 1_000)
gaps = st.lists(st.floats(0, 3, allow_nan=False), max_size=200)


@given(limits, gaps)
def test_no_second_lets_more_than_burst_and_refill_through(limit: int, gaps_seconds: list[float]):
    now = 100.0
    bucket = TokenBucket.full(limit, now)
    allowed_at: list[float] = []
    for gap in gaps_seconds:
        now += gap
        if bucket.take(now).allowed:
            allowed_at.append(now)
    for start in allowed_at:
        within = [at for at in allowed_at if start <= at < start + 1]
        assert len(within) <= 2 * limit + 1


@given(limits, gaps)
def test_who_waits_as_told_is_let_in(limit: int, gaps_seconds: list[float]):
    now = 0.0
    bucket = TokenBucket.full(limit, now)
    for gap in gaps_seconds:
        now += gap / limit
        verdict = bucket.take(now)
        if not verdict.allowed:
            now += verdict.retry_after_seconds
            assert bucket.take(now).allowed


@given(limits, gaps)
def test_the_headers_are_whole_numbers_that_add_up(limit: int, gaps_seconds: list[float]):
    now = 0.0
    bucket = TokenBucket.full(limit, now)
    for gap in gaps_seconds:
        now += gap / limit
        verdict = bucket.take(now)
        assert 0 <= verdict.remaining <= limit
        assert verdict.headers["X-RateLimit-Limit"] == str(limit)
        assert ("Retry-After" in verdict.headers) == (not verdict.allowed)
        assert all(value.isdigit() for value in verdict.headers.values())
        if not verdict.allowed:
            assert verdict.remaining == 0
        full_again = TokenBucket(bucket.limit, bucket.tokens, bucket.updated_seconds)
        assert full_again.take(now + verdict.reset_seconds).remaining == limit - 1


@given(limits)
def test_a_burst_of_the_limit_passes_and_the_next_waits(limit: int):
    bucket = TokenBucket.full(limit, 5.0)

    assert all(bucket.take(5.0).allowed for _ in range(limit))
    assert not bucket.take(5.0).allowed


@given(limits, st.floats(0, 1_000), st.floats(0, 1_000))
def test_a_clock_that_goes_back_gives_nothing(limit: int, first: float, second: float):
    bucket = TokenBucket.full(limit, max(first, second))
    taken = sum(bucket.take(now).allowed for now in (max(first, second), min(first, second)))

    assert math.isclose(bucket.tokens, limit - taken, abs_tol=1e-6)
