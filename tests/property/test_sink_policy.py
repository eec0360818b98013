"""How large batches are, whatever happens to them: docs/decisions/0022."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.sink.batches import Limits
from tracker.sink.policy import CALM_BYTES_DIVISOR, CALM_WINDOW_DIVISOR, THROTTLED_WINDOW_FACTOR, BatchPolicy

#: No policy needs more batches to get from one end to the other.
STEPS = 20

configured = st.builds(
    Limits, max_rows=st.integers(1, 50_000), max_bytes=st.integers(1_000, 10_000_000), window_ms=st.integers(1, 60_000)
)
#: Behind, throttled.
fates = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


def after(configured: Limits, fates: list[tuple[bool, bool]]) -> BatchPolicy:
    policy = BatchPolicy(configured)
    for is_behind, is_throttled in fates:
        policy.note(is_behind=is_behind, is_throttled=is_throttled)
    return policy


@given(configured, fates)
def test_batches_stay_between_calm_and_the_limits(configured: Limits, fates: list[tuple[bool, bool]]):
    limits = after(configured, fates).limits
    assert limits.max_rows == configured.max_rows
    assert configured.max_bytes // CALM_BYTES_DIVISOR <= limits.max_bytes <= configured.max_bytes
    assert limits.window_ms >= max(1, configured.window_ms // CALM_WINDOW_DIVISOR)
    assert limits.window_ms <= configured.window_ms * THROTTLED_WINDOW_FACTOR


@given(configured, fates)
def test_behind_they_grow_to_the_byte_limit_and_wait_no_longer(configured: Limits, fates: list[tuple[bool, bool]]):
    policy = after(configured, fates)
    window_ms = policy.limits.window_ms
    for _ in range(STEPS):
        policy.note(is_behind=True, is_throttled=False)
    assert policy.limits.max_bytes == configured.max_bytes
    assert policy.limits.window_ms == window_ms


@given(configured, fates)
def test_throttled_they_also_wait_longer(configured: Limits, fates: list[tuple[bool, bool]]):
    policy = after(configured, [*fates, *[(False, True)] * STEPS])
    assert policy.limits.max_bytes == configured.max_bytes
    assert policy.limits.window_ms == configured.window_ms * THROTTLED_WINDOW_FACTOR


@given(configured, fates)
def test_calm_they_shrink_for_latency(configured: Limits, fates: list[tuple[bool, bool]]):
    policy = after(configured, [*fates, *[(False, False)] * STEPS])
    assert policy.limits.max_bytes == configured.max_bytes // CALM_BYTES_DIVISOR
    assert policy.limits.window_ms == max(1, configured.window_ms // CALM_WINDOW_DIVISOR)


@given(configured, fates, st.integers(2, 10_000_000))
def test_a_size_that_was_too_large_is_not_made_again(configured: Limits, fates: list[tuple[bool, bool]], size: int):
    policy = after(configured, fates)
    policy.too_large(size)
    for _ in range(STEPS):
        policy.note(is_behind=True, is_throttled=True)
    assert policy.limits.max_bytes < size
