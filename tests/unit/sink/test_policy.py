"""How large batches are after requests that were too large, to the byte; how long they wait, step by step."""

import pytest

from tracker.sink.batches import Limits
from tracker.sink.policy import BatchPolicy

LIMITS = Limits(max_rows=100, max_bytes=8_000, window_ms=300)


def grown() -> BatchPolicy:
    policy = BatchPolicy(LIMITS)
    for _ in range(10):
        policy.note(is_behind=True, is_throttled=False)
    assert policy.limits.max_bytes == 8_000
    return policy


@pytest.mark.parametrize(("size_bytes", "most"), [(6_000, 3_000), (6_001, 3_000), (100_000, 8_000), (1, 1), (0, 1)])
def test_half_of_what_was_too_large_is_the_most_from_then_on_and_at_once(size_bytes, most):
    policy = grown()
    policy.too_large(size_bytes)
    assert policy.limits.max_bytes == most
    policy.note(is_behind=True, is_throttled=True)
    assert policy.limits.max_bytes == most
    assert isinstance(policy.limits.max_bytes, int)


def test_the_smallest_that_was_too_large_counts():
    policy = grown()
    policy.too_large(4_000)
    policy.too_large(6_000)
    assert policy.limits.max_bytes == 2_000


def test_batches_that_are_small_already_stay_as_they_are():
    policy = BatchPolicy(LIMITS)
    policy.too_large(6_000)
    assert policy.limits.max_bytes == 1_000


def test_the_window_takes_one_step_a_batch_and_stays_within_its_bounds():
    policy = BatchPolicy(Limits(max_rows=100, max_bytes=8_000, window_ms=1_000))
    calm = {"is_behind": False, "is_throttled": False}
    throttled = {"is_behind": False, "is_throttled": True}
    windows = []
    for fared in (*[throttled] * 5, *[calm] * 6, throttled):
        policy.note(**fared)
        windows.append(policy.limits.window_ms)
    assert windows == [2_000, 4_000, 8_000, 10_000, 10_000, 5_000, 2_500, 1_250, 625, 333, 333, 666]


@pytest.mark.parametrize(("max_bytes", "calm_bytes"), [(8_000, 1_000), (15, 1), (7, 1), (1, 1)])
def test_calm_batches_have_an_eighth_of_the_most_bytes_and_never_none(max_bytes: int, calm_bytes: int):
    policy = BatchPolicy(Limits(max_rows=100, max_bytes=max_bytes, window_ms=300))
    assert policy.limits.max_bytes == calm_bytes
    policy.note(is_behind=False, is_throttled=False)
    assert policy.limits == Limits(max_rows=100, max_bytes=calm_bytes, window_ms=150)


def test_a_window_never_shrinks_to_nothing():
    policy = BatchPolicy(Limits(max_rows=100, max_bytes=8_000, window_ms=2))
    for _ in range(4):
        policy.note(is_behind=False, is_throttled=False)
    assert policy.limits.window_ms == 1
