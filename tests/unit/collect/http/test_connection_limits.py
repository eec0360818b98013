"""No address holds all connections or all memory, and probes are answered when everything is held."""

import pytest

from tracker.collect.errors import RequestError
from tracker.collect.http import connection_limits
from tracker.collect.http.connection_limits import (
    RESERVED_CONNECTIONS,
    RESERVED_PER_ADDRESS,
    ConnectionLimits,
    Standing,
)


def joins(limits: ConnectionLimits, peer: str, times: int) -> list[Standing]:
    return [limits.join(peer) for _ in range(times)]


def test_an_address_may_hold_so_many_connections_and_a_few_for_its_probes():
    limits = ConnectionLimits(max_connections=1_000, max_per_address=10)
    standings = joins(limits, "a", 10 + RESERVED_PER_ADDRESS + 5)
    assert standings.count(Standing.FULL) == 10
    assert standings.count(Standing.RESERVE) == RESERVED_PER_ADDRESS
    assert standings[-1] is Standing.REFUSED
    assert limits.refusal("a").code == "rate_limited"
    assert limits.join("b") is Standing.FULL


def test_when_all_are_held_there_is_a_reserve_for_probes_of_any_address():
    limits = ConnectionLimits(max_connections=100, max_per_address=10)
    for number in range(10):
        joins(limits, f"attacker-{number}", 10)
    assert limits.is_crowded
    assert limits.join("probe") is Standing.RESERVE
    assert limits.refusal("probe").code == "overloaded"
    for number in range(RESERVED_CONNECTIONS):
        limits.join(f"other-{number}")
    assert limits.join("one-more") is Standing.REFUSED


def test_connections_that_are_closed_are_forgotten_with_what_they_had_buffered():
    limits = ConnectionLimits(max_connections=2, max_per_address=1)
    for _ in range(5):
        standings = joins(limits, "a", 2)
        assert standings == [Standing.FULL, Standing.RESERVE]
        limits.buffer("a", 1_000)
        limits.leave("a", Standing.FULL, 1_000)
        limits.leave("a", Standing.RESERVE, 0)
    assert limits._addresses == {}
    assert (limits._all.connections, limits._all.reserved, limits._all.buffered_bytes) == (0, 0, 0)


def test_proxies_of_ours_have_no_limit_of_their_own_but_that_of_all():
    limits = ConnectionLimits(20, 1, counted_as=lambda peer: None if peer == "proxy" else peer)
    assert joins(limits, "proxy", 20) == [Standing.FULL] * 20
    assert limits.join("proxy") is Standing.RESERVE


def test_unfinished_requests_are_bounded_by_address_and_in_all(monkeypatch):
    monkeypatch.setattr(connection_limits, "MAX_BUFFERED_BYTES", 1_000)
    monkeypatch.setattr(connection_limits, "MAX_BUFFERED_PER_ADDRESS_BYTES", 300)
    limits = ConnectionLimits(100, 100)
    for peer in ("a", "b", "c"):
        limits.join(peer)
        limits.buffer(peer, 300)
        with pytest.raises(RequestError) as caught:
            limits.buffer(peer, 1)
        assert caught.value.code == "overloaded"
        limits.buffer(peer, -1)
    limits.join("d")
    limits.buffer("d", 100)
    with pytest.raises(RequestError):
        limits.buffer("d", 1)
