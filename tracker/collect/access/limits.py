"""How much an address and a key may send. Honest senders never notice these limits; an attacker can't use up a key.

An address is an IPv4 address or an IPv6 /64. Its limits are for pages, whose keys are public. They don't apply to a
secret key, which only a service has, nor to a collector that only this machine can reach. Events are counted
against a key only when they are valid; the others have a small budget for each address.
"""

import math
import time
from collections.abc import Callable, Collection
from typing import Final, Literal

import msgspec

from tracker.collect.access.client_address import counted_as
from tracker.collect.access.keys import WriteKey
from tracker.collect.access.recent_sessions import RecentSessions
from tracker.collect.access.token_buckets import Rate, RecentSenders
from tracker.collect.errors import RequestError
from tracker.settings import Settings

#: The limits, as the label of the metric ``tracker_collect_rate_limited_total`` names them.
Limit = Literal[
    "address_requests",
    "address_events",
    "address_invalid",
    "address_sessions",
    "key_events",
    "key_sessions",
    "key_share",
]
#: The key's name in a collector without keys.
OPEN_KEY: Final = "open"
#: Keys whose share is remembered for each address.
MAX_SHARES: Final = 64

_MESSAGES: Final[dict[Limit, str]] = {
    "address_requests": "this address sends too many requests",
    "address_events": "this address sends too many events",
    "address_invalid": "this address sends too many invalid events",
    "address_sessions": "this address begins too many sessions",
    "key_events": "this key sends too many events",
    "key_sessions": "this key begins too many sessions",
    "key_share": "this address uses too much of the key's rate",
}


class _Address:
    """When each bucket of an address will be full again, and until when the address is refused."""

    __slots__ = ("blocked_by", "blocked_until", "events", "invalid", "requests", "sessions", "shares")

    def __init__(self) -> None:
        self.requests = self.events = self.invalid = self.sessions = self.blocked_until = 0.0
        self.blocked_by: Limit = "address_events"
        #: Its share of each key.
        self.shares: dict[str, float] = {}

    def forget_a_share(self) -> None:
        """Make room for another key. The share that is nearest to full again goes: the address gains least by that."""
        del self.shares[min(self.shares, key=self.shares.__getitem__)]

    def block(self, limit: Limit, until: float) -> None:
        """Refuse all requests until then, because of this limit, unless another one refuses them for longer."""
        if until > self.blocked_until:
            self.blocked_by, self.blocked_until = limit, until


class _Key:
    """When each bucket of a key will be full again, and how fast they fill."""

    __slots__ = ("events", "own_rate", "rate", "sessions", "share")

    def __init__(self, own_rate: float | None, rate: Rate, share: Rate) -> None:
        self.events = self.sessions = 0.0
        self.own_rate = own_rate
        self.rate = rate
        #: Of an address.
        self.share = share


class Account(msgspec.Struct, frozen=True, gc=False):
    """The buckets that a request is counted against."""

    key: WriteKey | None
    #: None: the limits of addresses don't apply.
    address: _Address | None


class Limits:
    """All rate limits of one collector process."""

    def __init__(self, settings: Settings, count: Callable[[Limit], None] = lambda _: None) -> None:
        """Take the rates from the settings; call ``count`` with the limit whenever one is exceeded."""
        self._count = count
        self._burst_seconds = settings.collect_burst_seconds
        #: The rounding error of many refills must not keep anybody waiting.
        self._most_seconds = settings.collect_burst_seconds + 1e-9
        #: The kernel spreads connections evenly, so each of the processes on the port allows its part.
        self._part = 1 / max(1, settings.collect_processes)
        self._is_local = settings.keys_file is None and not settings.collect_open
        self._address_requests = self._rate(settings.collect_ip_requests_per_second)
        self._address_events = self._rate(settings.collect_ip_events_per_second)
        self._address_invalid = self._rate(settings.collect_ip_invalid_per_second)
        self._address_sessions = self._rate(settings.collect_ip_new_sessions_per_second)
        self._key_events_per_second = settings.collect_key_events_per_second
        self._key_sessions = self._rate(settings.collect_key_new_sessions_per_second)
        self._share = settings.collect_ip_key_percent / 100
        self._addresses = RecentSenders(_Address)
        self._keys: dict[str, _Key] = {}
        self._sessions = RecentSessions()

    def account(self, key: WriteKey | None, address: str) -> Account:
        """Return the buckets of a request that presents a valid key, or that needs none."""
        if self._is_local or (key is not None and not key.is_public):
            return Account(key, None)
        return Account(key, self._addresses.entry(counted_as(address)))

    def stranger(self, address: str) -> Account:
        """Return the buckets of a request that presents no valid key."""
        return Account(None, None if self._is_local else self._addresses.entry(counted_as(address)))

    def request(self, account: Account) -> None:
        """Count a request, before anything of it is decoded.

        Raises:
            RequestError: ``rate_limited``: the address sends too many requests, or has used up another budget.
        """
        buckets = account.address
        if buckets is None:
            return
        now = time.monotonic()
        if buckets.blocked_until > now:
            raise self._refusal(buckets.blocked_by, buckets.blocked_until - now)
        full_at = self._address_requests.charged(buckets.requests, 1, now)
        if full_at - now > self._most_seconds:
            raise self._refusal("address_requests", full_at - now - self._burst_seconds)
        buckets.requests = full_at

    def must_wait(self, address: str) -> bool:
        """Whether a request of this address would be refused now."""
        buckets = self._addresses.known(counted_as(address))
        if buckets is None:
            return False
        now = time.monotonic()
        full_at = self._address_requests.charged(buckets.requests, 1, now)
        return buckets.blocked_until > now or full_at - now > self._most_seconds

    def invalid(self, account: Account, events: int) -> None:
        """Count events that were refused. If there are too many, the next requests of the address have to wait."""
        buckets = account.address
        if buckets is None:
            return
        now = time.monotonic()
        charged = self._address_invalid.charged(buckets.invalid, events, now)
        buckets.invalid = min(charged, now + 2 * self._burst_seconds)
        buckets.block("address_invalid", buckets.invalid - self._most_seconds)

    def accept(self, account: Account, events: int, session_ids: Collection[str]) -> None:
        """Count valid events, and the sessions among them that are new: all of them or none. About 1.5 us.

        Raises:
            RequestError: ``rate_limited``: none of the events may be accepted.
        """
        now = time.monotonic()
        name, of_key = self._of_key(account.key)
        new_sessions = self._sessions.new_ones(name, session_ids)
        key_events = of_key.rate.charged(of_key.events, events, now)
        latest = now + self._most_seconds
        if key_events > latest:
            raise self._refusal("key_events", key_events - latest)
        key_sessions = of_key.sessions
        if new_sessions:
            key_sessions = self._key_sessions.charged(key_sessions, len(new_sessions), now)
            if key_sessions > latest:
                raise self._refusal("key_sessions", key_sessions - latest)
        if account.address is not None:
            self._accept_from(account.address, (name, of_key.share), events, len(new_sessions), now)
        of_key.events, of_key.sessions = key_events, key_sessions
        if new_sessions:
            self._sessions.add(new_sessions)

    def _accept_from(
        self, buckets: _Address, share: tuple[str, Rate], events: int, new_sessions: int, now: float
    ) -> None:
        key, share_rate = share
        sessions = buckets.sessions
        if new_sessions:
            sessions = self._address_sessions.charged(sessions, new_sessions, now)
        of_address = self._address_events.charged(buckets.events, events, now)
        of_share = share_rate.charged(buckets.shares.get(key, 0.0), events, now)
        latest = now + self._most_seconds
        if of_address > latest or of_share > latest or sessions > latest:
            limits: dict[float, Limit] = {
                sessions: "address_sessions",
                of_share: "key_share",
                of_address: "address_events",
            }
            excess_seconds = max(limits) - latest
            # Until then its requests are refused unread: to read them in vain costs more than they are worth.
            buckets.block(limits[max(limits)], now + excess_seconds)
            raise self._refusal(limits[max(limits)], excess_seconds)
        buckets.events, buckets.sessions = of_address, sessions
        if len(buckets.shares) >= MAX_SHARES and key not in buckets.shares:
            buckets.forget_a_share()
        buckets.shares[key] = of_share

    def _of_key(self, key: WriteKey | None) -> tuple[str, _Key]:
        name, own_rate = (OPEN_KEY, None) if key is None else (key.key_sha256, key.events_per_second)
        of_key = self._keys.get(name)
        if of_key is None or of_key.own_rate != own_rate:
            per_second = own_rate or self._key_events_per_second
            of_key = _Key(own_rate, self._rate(per_second), self._rate(per_second * self._share))
            self._keys[name] = of_key
        return name, of_key

    def _rate(self, per_second: float) -> Rate:
        return Rate(per_second * self._part, self._burst_seconds)

    def _refusal(self, limit: Limit, wait_seconds: float) -> RequestError:
        self._count(limit)
        return RequestError("rate_limited", _MESSAGES[limit], retry_after_seconds=max(1, math.ceil(wait_seconds)))
