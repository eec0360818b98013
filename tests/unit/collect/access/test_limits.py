"""Limits by address, key and session: the honest keep their part, whatever others send."""

from collections import Counter
from typing import Any

import pytest

from tracker.collect.access import limits
from tracker.collect.access.keys import WriteKey
from tracker.collect.access.limits import Account, Limits
from tracker.collect.access.recent_sessions import RecentSessions
from tracker.collect.errors import RequestError
from tracker.settings import Settings

BURST = 5


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """However slow the machine is, no time passes unless a test says so: buckets are filled again as time passes."""
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def key(name: str = "page", **changes: Any) -> WriteKey:
    fields = {"name": name, "key": f"{name}-key-0123456789", "workspace_id": "w1", "origins": ["https://shop.example"]}
    return WriteKey.model_validate({**fields, **changes})


class Edge:
    """Limits, and who was refused by which of them."""

    def __init__(self, **changes: Any) -> None:
        self.refused: Counter[str] = Counter()
        settings = Settings(_env_file=None, collect_open=True, collect_burst_seconds=BURST, **changes)
        self.limits = Limits(settings, self._count)

    def _count(self, limit: str) -> None:
        self.refused[limit] += 1

    def accepts(self, account: Account, events: int = 1, sessions: tuple[str, ...] = ("s",)) -> bool:
        try:
            self.limits.request(account)
            self.limits.accept(account, events, sessions)
        except RequestError as error:
            if error.code != "rate_limited" or not 1 <= error.retry_after_seconds <= BURST + 1:
                raise
            return False
        return True

    def how_many(self, account: Account, tries: int = 1_000, **what: Any) -> int:
        return sum(self.accepts(account, **what) for _ in range(tries))


def test_an_address_may_send_so_many_requests():
    edge = Edge(collect_ip_requests_per_second=2)
    assert edge.how_many(edge.limits.account(None, "198.51.100.1")) == pytest.approx(2 * BURST, abs=1)
    assert edge.refused.keys() == {"address_requests"}
    assert edge.accepts(edge.limits.account(None, "198.51.100.2"))


def test_an_address_may_send_so_many_events_in_any_number_of_requests():
    edge = Edge(collect_ip_events_per_second=20)
    assert edge.how_many(edge.limits.account(None, "198.51.100.1"), events=10) == pytest.approx(2 * BURST, abs=1)
    assert edge.refused["address_events"] > 0


def test_a_whole_ipv6_network_is_one_address():
    edge = Edge(collect_ip_requests_per_second=2)
    taken = sum(edge.accepts(edge.limits.account(None, f"2001:db8::{number:x}")) for number in range(100))
    assert taken == pytest.approx(2 * BURST, abs=1)


def test_invalid_events_cost_their_address_and_not_the_key():
    edge = Edge(collect_ip_invalid_per_second=4)
    shop = key(events_per_second=50)
    junk, honest = (edge.limits.account(shop, address) for address in ("198.51.100.1", "198.51.100.2"))
    for _ in range(50):
        edge.limits.invalid(junk, 500)
    assert not edge.accepts(junk)
    assert edge.refused.keys() == {"address_invalid"}
    assert edge.how_many(honest, 10) == 10


def test_a_few_invalid_events_cost_nothing():
    edge = Edge(collect_ip_invalid_per_second=4)
    account = edge.limits.account(None, "198.51.100.1")
    edge.limits.invalid(account, 4 * BURST)
    assert edge.accepts(account)


def test_one_address_can_not_use_up_a_key():
    edge = Edge(collect_ip_key_percent=20)
    shop = key(events_per_second=50)
    greedy = edge.limits.account(shop, "198.51.100.1")
    assert edge.how_many(greedy, events=10) == pytest.approx(50 * BURST * 0.2 / 10, abs=1)
    assert edge.refused["key_share"] > 0
    for number in range(2, 6):
        assert edge.how_many(edge.limits.account(shop, f"198.51.100.{number}"), 5, events=10) == 5


def test_many_other_keys_give_an_address_no_new_share_of_a_key():
    edge = Edge(
        collect_ip_key_percent=20, collect_ip_events_per_second=1_000_000, collect_ip_requests_per_second=1_000_000
    )
    address = "198.51.100.1"
    greedy = edge.limits.account(key(events_per_second=50), address)
    assert edge.accepts(greedy, events=49)
    for number in range(2 * limits.MAX_SHARES):
        assert edge.accepts(edge.limits.account(key(f"other{number}", events_per_second=50), address))
    assert edge.accepts(greedy, events=1)
    assert not edge.accepts(greedy, events=1)
    assert edge.refused == {"key_share": 1}


def test_all_addresses_together_get_what_the_key_has():
    edge = Edge()
    shop = key(events_per_second=50)
    accounts = [edge.limits.account(shop, f"198.51.100.{number}") for number in range(100)]
    assert sum(edge.accepts(account, events=10) for account in accounts) == pytest.approx(50 * BURST / 10, abs=1)
    assert edge.refused.keys() == {"key_events"}
    assert edge.accepts(edge.limits.account(key("other"), "198.51.100.1"))


def test_a_session_is_new_once():
    edge = Edge(collect_ip_new_sessions_per_second=2)
    account = edge.limits.account(None, "198.51.100.1")
    assert edge.how_many(account, 100, sessions=("the-same",)) == 100
    taken = sum(edge.accepts(account, sessions=(f"s{number}",)) for number in range(100))
    assert taken == pytest.approx(2 * BURST, abs=1)
    assert edge.refused["address_sessions"] > 0


def test_sessions_that_were_refused_are_still_new():
    edge = Edge(collect_key_new_sessions_per_second=1)
    many = tuple(f"s{number}" for number in range(BURST))
    assert edge.accepts(edge.limits.account(None, "198.51.100.1"), sessions=many)
    assert not edge.accepts(edge.limits.account(None, "198.51.100.2"), sessions=("late",))
    assert not edge.accepts(edge.limits.account(None, "198.51.100.3"), sessions=("late",))
    assert edge.refused == {"key_sessions": 2}
    assert edge.accepts(edge.limits.account(None, "198.51.100.4"), sessions=many)


def test_a_service_is_not_limited_by_its_address_but_by_its_key():
    edge = Edge(collect_ip_requests_per_second=1, collect_ip_events_per_second=1, collect_ip_new_sessions_per_second=1)
    service = edge.limits.account(key("service", origins=[], events_per_second=1_000), "198.51.100.1")
    assert edge.how_many(service, 700, events=10) == pytest.approx(1_000 * BURST / 10, abs=20)
    assert edge.refused.keys() == {"key_events"}


def test_a_collector_that_only_this_machine_reaches_has_no_limits_by_address():
    limits = Limits(Settings(_env_file=None, collect_ip_requests_per_second=1))
    account = limits.account(None, "127.0.0.1")
    for _ in range(100):
        limits.request(account)
        limits.accept(account, 1, ("s",))
        limits.request(limits.stranger("127.0.0.1"))


def test_strangers_are_told_apart_by_their_addresses_and_are_those_that_have_no_key():
    edge = Edge(collect_ip_requests_per_second=2)
    assert edge.how_many(edge.limits.stranger("198.51.100.1")) == 2 * BURST
    assert not edge.accepts(edge.limits.account(None, "198.51.100.1"))
    assert edge.accepts(edge.limits.stranger("198.51.100.2"))


@pytest.mark.parametrize(("processes", "share"), [(0, 1), (1, 1), (4, 4)])
def test_all_processes_of_a_port_together_allow_what_is_configured(processes: int, share: int):
    edge = Edge(collect_processes=processes, collect_ip_requests_per_second=40, collect_ip_events_per_second=1_000_000)
    taken = edge.how_many(edge.limits.account(None, "198.51.100.1"))
    assert taken == pytest.approx(40 * BURST / share, abs=2)


def test_what_is_refused_after_it_was_read_keeps_its_address_waiting_unread():
    """Else it would cost us the reading of 500 events, and the sender nothing, again and again."""
    edge = Edge(collect_ip_events_per_second=100)
    account = edge.limits.account(None, "198.51.100.1")
    assert edge.accepts(account, events=500)
    edge.limits.request(account)
    with pytest.raises(RequestError):
        edge.limits.accept(account, 500, ())
    with pytest.raises(RequestError):
        edge.limits.request(account)


def test_recent_sessions_are_bounded_and_those_in_use_stay():
    sessions = RecentSessions(max_sessions=10)
    sessions.add(sessions.new_ones("k", ["used"]))
    for number in range(1_000):
        sessions.add(sessions.new_ones("k", [f"s{number}"]))
        assert sessions.new_ones("k", ["used"]) == []
        assert len(sessions) <= 11
    assert sessions.new_ones("k", ["s1"])
    assert len(sessions.new_ones("k", ["used", "new", "used too"])) == 2, "behind one that is known"
    assert sessions.new_ones("another key", ["used"])


@pytest.mark.parametrize("max_sessions", [2, 3, 9, 10])
def test_as_many_sessions_are_remembered_as_may_be_and_half_of_them_for_certain(max_sessions: int):
    sessions = RecentSessions(max_sessions)
    for number in range(5 * max_sessions):
        sessions.add(sessions.new_ones("k", [f"s{number}"]))
        assert len(sessions) <= max_sessions
        lately = [f"s{each}" for each in range(max(0, number + 1 - max_sessions // 2), number + 1)]
        assert [each for each in lately if RecentSessions.new_ones(sessions, "k", [each])] == []


# What those who are refused are told, and who has to wait before anything is read


RATES = {
    "address_requests": {"collect_ip_requests_per_second": 2},
    "address_events": {"collect_ip_events_per_second": 20},
    "address_sessions": {"collect_ip_new_sessions_per_second": 2},
    "key_share": {"collect_ip_key_percent": 20, "collect_key_events_per_second": 100},
    "key_events": {"collect_key_events_per_second": 20},
    "key_sessions": {"collect_key_new_sessions_per_second": 2},
}


def wait_after(edge: Edge, account: Account, number: int) -> int | None:
    """Begin a session with ten events; return how long to wait if that is refused."""
    try:
        edge.limits.request(account)
        edge.limits.accept(account, 10, (f"s-{number}",))
    except RequestError as error:
        return error.retry_after_seconds
    return None


@pytest.mark.parametrize("limit", list(RATES))
def test_the_wait_that_is_told_is_long_enough_and_a_second_less_is_not(limit: str, clock: Clock):
    edge = Edge(**RATES[limit])
    sender = key(origins=[]) if limit in ("key_events", "key_sessions") else key()
    account = edge.limits.account(sender, "198.51.100.1")
    for number in range(10_000):
        if (wait_seconds := wait_after(edge, account, number)) is not None:
            break
    assert edge.refused == {limit: 1}
    clock.now += wait_seconds - 1
    assert wait_after(edge, account, number) is not None
    assert edge.refused == {limit: 2}, "who has to wait is told why, as before"
    clock.now += 1
    assert wait_after(edge, account, number) is None


def test_of_each_address_only_so_many_keys_are_remembered_and_known_ones_push_none_out():
    edge = Edge(collect_ip_events_per_second=1_000_000, collect_ip_requests_per_second=1_000_000)
    accounts = [edge.limits.account(key(f"k{number}"), "198.51.100.1") for number in range(limits.MAX_SHARES + 5)]
    assert accounts[0].address is not None
    shares = accounts[0].address.shares
    for account in accounts[: limits.MAX_SHARES]:
        assert edge.accepts(account)
    known = set(shares)
    for account in reversed(accounts[: limits.MAX_SHARES]):
        assert edge.accepts(account)
        assert (set(shares), len(shares)) == (known, limits.MAX_SHARES)
    for account in accounts[limits.MAX_SHARES :]:
        assert edge.accepts(account)
        assert len(shares) == limits.MAX_SHARES


def test_a_session_of_one_key_is_new_to_another():
    edge = Edge(collect_key_new_sessions_per_second=1)
    for name in ("one", "other"):
        service = edge.limits.account(key(name, origins=[]), "198.51.100.1")
        assert sum(edge.accepts(service, sessions=(f"s{number}",)) for number in range(10)) == BURST


def test_too_many_invalid_events_keep_an_address_waiting_for_a_while_and_not_for_ever(clock: Clock):
    edge = Edge(collect_ip_invalid_per_second=4)
    account = edge.limits.account(key(), "198.51.100.1")
    for _ in range(1_000):
        edge.limits.invalid(account, 500)
    with pytest.raises(RequestError) as refused:
        edge.limits.request(account)
    assert refused.value.retry_after_seconds == BURST
    clock.now += BURST - 0.5
    assert edge.limits.must_wait("198.51.100.1")
    clock.now += 0.5
    assert not edge.limits.must_wait("198.51.100.1")
    edge.limits.request(account)


def test_invalid_events_never_shorten_the_wait_for_something_else(clock: Clock):
    edge = Edge(collect_ip_events_per_second=100, collect_ip_invalid_per_second=4)
    account = edge.limits.account(key(), "198.51.100.1")
    assert edge.accepts(account, events=500)
    assert not edge.accepts(account, events=300)
    edge.limits.invalid(account, 1)
    assert edge.limits.must_wait("198.51.100.1")
    edge.limits.invalid(account, 4 * BURST)
    clock.now += 2.5
    with pytest.raises(RequestError, match="too many events"):
        edge.limits.request(account)


def test_a_services_invalid_events_are_its_own_matter():
    edge = Edge(collect_ip_invalid_per_second=4)
    service = edge.limits.account(key("service", origins=[]), "198.51.100.1")
    for _ in range(100):
        edge.limits.invalid(service, 500)
    assert edge.accepts(service)


def test_it_is_foretold_of_each_request_whether_it_will_be_refused(clock: Clock):
    edge = Edge(collect_ip_requests_per_second=2)
    account = edge.limits.account(None, "198.51.100.1")
    for _ in range(50):
        clock.now += 0.25
        foretold = edge.limits.must_wait("198.51.100.1")
        assert edge.accepts(account) == (not foretold)
    assert edge.refused["address_requests"] > 0


def test_who_would_be_refused_now_must_wait_and_asking_costs_nothing(clock: Clock):
    edge = Edge(collect_ip_requests_per_second=2)
    address, neighbour, other = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"
    assert not edge.limits.must_wait(address)
    account = edge.limits.account(None, address)
    edge.limits.request(account)
    assert not any(edge.limits.must_wait(address) for _ in range(100))
    edge.how_many(account, 100)
    assert [edge.limits.must_wait(each) for each in (address, neighbour, other)] == [True, True, False]
    clock.now += 1
    assert not edge.limits.must_wait(address)


def test_a_key_whose_rate_has_changed_has_its_new_rate_at_once():
    edge = Edge()
    service = {"origins": [], "name": "service"}
    assert edge.how_many(edge.limits.account(key(**service, events_per_second=2), "198.51.100.1")) == 2 * BURST
    faster = edge.limits.account(key(**service, events_per_second=20), "198.51.100.1")
    assert edge.how_many(faster) == 20 * BURST
    assert edge.refused.keys() == {"key_events"}
