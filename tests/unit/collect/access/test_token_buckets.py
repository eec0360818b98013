"""Token buckets hold for each sender, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.collect.access.token_buckets import Rate, RecentSenders


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 12)), max_size=80))
def test_nobody_gets_more_than_the_rate_and_a_burst_and_waiting_helps(steps):
    rate = Rate(5, burst_seconds=2)
    now, taken, full_at = 100.0, 0, 0.0
    for pause, tokens in steps:
        now += pause
        charged = rate.charged(full_at, tokens, now)
        wait = charged - now - rate.burst_seconds
        if wait > 1e-9:
            now += wait
            charged = rate.charged(full_at, tokens, now)
            assert charged - now <= rate.burst_seconds + 1e-6
        full_at = charged
        taken += min(tokens, 10)
        assert taken <= 10 + 5 * (now - 100) + 1e-3


def test_more_than_a_bucket_holds_counts_as_all_of_it():
    rate = Rate(1, burst_seconds=5)
    assert rate.charged(0.0, 1_000, 10.0) == 15.0


def test_senders_do_not_share_an_entry_and_memory_is_bounded():
    senders = RecentSenders(list, max_senders=10)
    senders.entry("a").append(1)
    assert senders.entry("b") == []
    assert senders.entry("a") == [1]
    for number in range(1_000):
        senders.entry(str(number)).append(number)
        assert senders.entry("a") == [1]  # whoever keeps coming is remembered
        assert len(senders) <= 10


def test_a_sender_is_known_until_it_is_forgotten_and_asking_makes_no_entry():
    senders = RecentSenders(object, max_senders=4)
    assert (senders.known("a"), len(senders)) == (None, 0)
    first = senders.entry("a")
    for name in "bc":
        senders.entry(name)
        assert senders.known("a") is first
    for name in "de":
        senders.entry(name)
    assert senders.known("a") is None


@pytest.mark.parametrize("max_senders", [2, 3, 5])
def test_there_are_never_more_senders_than_may_be_remembered(max_senders: int):
    senders = RecentSenders(object, max_senders)
    for number in range(20):
        senders.entry(str(number))
        assert len(senders) <= max_senders


def test_half_as_many_senders_as_may_be_remembered_are_never_forgotten():
    senders = RecentSenders(list, max_senders=10)
    for _ in range(3):
        for name in "abcde":
            senders.entry(name).append(name)
    assert [senders.entry(name) for name in "abcde"] == [[name] * 3 for name in "abcde"]


def test_a_sender_that_comes_back_is_remembered_once():
    senders = RecentSenders(list, max_senders=4)
    first = senders.entry("a")
    for name in ("b", "c"):
        senders.entry(name)
    assert senders.entry("a") is first
    assert len(senders) == 3
