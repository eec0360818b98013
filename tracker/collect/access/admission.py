"""Who sends a request, and what may be done with it: key, origin, address, rate, consent. Decides, and no more.

What a client says of itself is only believed as far as its key or a proxy of ours vouches for it.
"""

import math
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from tracker.collect.access import consent, cors
from tracker.collect.access.client_address import TrustedProxies, kept_ip, rate_limited_as
from tracker.collect.access.cookies import proposed_session, session_from_cookie
from tracker.collect.access.key_file import WatchedKeys
from tracker.collect.access.keys import KeyRing, OriginVerdict, ReadKey, WriteKey
from tracker.collect.access.rate_limits import RateLimits
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.geo import NOWHERE, GeoDatabase, GeoHeaders, Place
from tracker.collect.records.visitor import Browser, browser_fields
from tracker.settings import Settings

#: Query strings that are remembered, and how long those may be: a page's is its key, a pixel's is an event.
QUERY_CACHE_ENTRIES: Final = 1_024
MAX_CACHED_QUERY_CHARS: Final = 512
MAX_QUERY_FIELDS: Final = 16
#: Pages whose answers' headers are remembered; only what they may read, not whether they may send.
CORS_CACHE_ENTRIES: Final = 1_024

_BEARER: Final = "bearer "
_OPEN: Final = "open"


class Sender(NamedTuple):
    """Who sends something, as far as it matters here."""

    #: None on a collector without keys.
    key: WriteKey | None
    policy: consent.Policy
    signal: consent.Signal
    #: The session that the cookie names, or the query proposes.
    session_id: str | None
    #: What the headers tell of the visitor; None if the key is for services.
    browser: bytes | None


class Edge:
    """The checks before a body is looked at."""

    def __init__(self, settings: Settings, metrics: CollectMetrics) -> None:
        """Read the keys and the geo database.

        Raises:
            ConfigurationError: a file or a network in the settings is not what it should be.
        """
        self._settings = settings
        self.keys = None if settings.keys_file is None else WatchedKeys(settings.keys_file, metrics)
        self._proxies = TrustedProxies(filter(None, settings.trusted_proxies.replace(",", " ").split()))
        self._geo_headers = GeoHeaders(
            settings.geo_country_header, settings.geo_region_header, settings.geo_city_header
        )
        self._geo_database = None if settings.geo_database is None else GeoDatabase(settings.geo_database)
        burst = settings.collect_burst_seconds
        #: The kernel spreads connections evenly, so each of the processes on the port allows its share.
        self._share = 1 / max(1, settings.collect_processes)
        per_ip = settings.collect_ip_requests_per_second * self._share
        per_key = settings.collect_key_events_per_second * self._share
        self._ip_limits = RateLimits(per_ip, per_ip * burst)
        self._key_limits = RateLimits(per_key, per_key * burst)

    def close(self) -> None:
        """Let go of the files."""
        if self._geo_database is not None:
            self._geo_database.close()

    def sender(self, request: Request) -> Sender:
        """Return who sends events.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized`` or ``forbidden``.
        """
        headers = request.headers
        ip = self.admit(request)
        key = self._write_key(request)
        if "Origin" in headers and self._origin_verdict(request, key) == "refused":
            raise RequestError("forbidden", "this key may not be used from this origin")
        policy, signal = consent.asked_for(
            dnt=headers.get("DNT"),
            gpc=headers.get("Sec-GPC"),
            dnt_policy=self._settings.dnt_policy,
            gpc_policy=self._settings.gpc_policy,
        )
        browser = None
        if key is None or key.enrich:
            browser = self._browser(request, ip, is_anonymous=policy == "anonymous")
        cookie = headers.get("Cookie") if policy == "ignore" else None
        session_id = session_from_cookie(cookie, self._settings.cookie_name)
        if session_id is None and request.query:
            session_id = proposed_session(query_fields(request.query).get("session"))
        return Sender(key, policy, signal, session_id, browser)

    def admit(self, request: Request) -> str:
        """Return the client's address, if it does not send too much.

        Raises:
            RequestError: ``rate_limited``.
        """
        ip = self._proxies.client(request.peer, request.headers.get("X-Forwarded-For"))
        wait_seconds = self._ip_limits.take(rate_limited_as(ip), 1, time.monotonic())
        if wait_seconds:
            raise _rate_limited("this address sends too many requests", wait_seconds)
        return ip

    def charge(self, key: WriteKey | None, events: int) -> None:
        """Count events against their key's rate.

        Raises:
            RequestError: ``rate_limited``; none of them may be taken.
        """
        name, rate = (_OPEN, None) if key is None else (key.key_sha256, key.events_per_second)
        share = None if rate is None else rate * self._share
        wait_seconds = self._key_limits.take(name, events, time.monotonic(), share)
        if wait_seconds:
            raise _rate_limited("this key sends too many events", wait_seconds)

    def reader(self, request: Request) -> ReadKey | None:
        """Return whose sessions may be looked at; None if there are no keys, so anybody's.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized`` or ``forbidden``.
        """
        self.admit(request)
        if self.keys is None:
            return None
        # Not from the query: a secret does not belong into an address.
        presented = _header_key(request)
        key = self.keys.ring.read_key(presented) if presented else None
        if key is None:
            if presented and self.keys.ring.write_key(presented) is not None:
                raise RequestError("forbidden", "a write key can't read: use a read key")
            raise RequestError("unauthorized", "send a read key as Authorization: Bearer KEY")
        return key

    def preflight(self, request: Request) -> Response:
        """Answer a browser that asks before it posts; the request itself is checked when it comes."""
        origin = request.headers.get("Origin")
        if origin is None:
            return Response(204)
        presented = _presented_key(request)
        key = self.keys.ring.write_key(presented) if self.keys is not None and presented else None
        verdict = self._origin_verdict(request, key)
        if verdict == "refused":
            raise RequestError("forbidden", "no key may be used from this origin")
        return Response(204, headers=cors.preflight_headers())

    def cors_headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Return what lets the page that sent this read its answer; nothing if it was no page of another origin."""
        origin = request.headers.get("Origin")
        if origin is None:
            return ()
        ring = self._ring
        try:
            presented = None if ring is None else _presented_key(request)
        except RequestError:
            presented = None  # a query that can't be read, which is what the answer says
        return _cors_headers(ring, presented, origin, request.headers.get("Host"))

    @property
    def _ring(self) -> KeyRing | None:
        return None if self.keys is None else self.keys.ring

    def _write_key(self, request: Request) -> WriteKey | None:
        if self.keys is None:
            return None
        presented = _presented_key(request)
        key = self.keys.ring.write_key(presented) if presented else None
        if key is None:
            how = "in the header X-Write-Key, as Authorization: Bearer KEY, or as ?key=KEY"
            if presented and self.keys.ring.read_key(presented) is not None:
                raise RequestError("forbidden", "a read key can't write: use a write key")
            raise RequestError("unauthorized", f"send a write key: {how}")
        return key

    def _origin_verdict(self, request: Request, key: WriteKey | None) -> OriginVerdict:
        return _verdict(self._ring, key, request.headers["Origin"], request.headers.get("Host"))

    def _browser(self, request: Request, ip: str, *, is_anonymous: bool) -> bytes:
        headers = request.headers
        place = self._place(request.peer, headers, ip)
        return browser_fields(
            Browser(
                headers.get("User-Agent", ""),
                headers.get("Accept-Language", ""),
                *place,
                kept_ip(ip, self._settings.ip_policy),
            ),
            is_anonymous=is_anonymous,
        )

    def _place(self, peer: str, headers: Mapping[str, str], ip: str) -> Place:
        if any(self._geo_headers) and self._proxies.trusts(peer):
            place = self._geo_headers.place(headers)
            if any(place):
                return place
        return NOWHERE if self._geo_database is None else self._geo_database.place(ip)


def _verdict(ring: KeyRing | None, key: WriteKey | None, origin: str, host: str | None) -> OriginVerdict:
    if cors.is_same_origin(origin, host):
        return "credentials"
    if ring is None:
        return cors.open_verdict(origin)
    return ring.any_verdict(origin) if key is None else key.origin_verdict(origin)


@lru_cache(maxsize=CORS_CACHE_ENTRIES)
def _cors_headers(
    ring: KeyRing | None, presented: str | None, origin: str, host: str | None
) -> tuple[tuple[str, str], ...]:
    if cors.is_same_origin(origin, host):
        return ()
    key = ring.write_key(presented) if ring is not None and presented else None
    return tuple(cors.answer_headers(origin, _verdict(ring, key, origin, host)))


def query_fields(query: str) -> Mapping[str, str]:
    """Return the fields of a query string; of several with one name the last counts."""
    return _cached_query(query) if len(query) <= MAX_CACHED_QUERY_CHARS else _parse_query(query)


def _parse_query(query: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise RequestError("bad_request", f"the query has more than {MAX_QUERY_FIELDS} fields") from None


_cached_query = lru_cache(maxsize=QUERY_CACHE_ENTRIES)(_parse_query)


def _presented_key(request: Request) -> str | None:
    key = _header_key(request)
    if key is None and request.query:
        return query_fields(request.query).get("key")
    return key


def _header_key(request: Request) -> str | None:
    key = request.headers.get("X-Write-Key")
    if key is not None:
        return key
    authorization = request.headers.get("Authorization")
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip()


def _rate_limited(message: str, wait_seconds: float) -> RequestError:
    return RequestError("rate_limited", message, retry_after_seconds=max(1, math.ceil(wait_seconds)))
