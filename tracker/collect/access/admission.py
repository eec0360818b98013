"""Who sends a request, and what they may do: key, origin, address, rate, consent. Decides before the body is read.

Statements of a client about itself are only believed as far as its key or one of our proxies confirms them.
"""

import math
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from tracker.collect.access import consent, cors
from tracker.collect.access.client_address import TrustedProxies, rate_limited_as
from tracker.collect.access.cookies import proposed_session, session_from_cookie
from tracker.collect.access.geo import NOWHERE, GeoDatabase, GeoHeaders, Place
from tracker.collect.access.keys import KeyRing, OriginVerdict, ReadKey, WriteKey
from tracker.collect.access.presented_key import header_key, presented_key, query_field
from tracker.collect.access.rate_limits import RateLimits
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Headers, Request, Response
from tracker.settings import Settings

#: The rate limit's name for the senders of a collector without keys.
_OPEN: Final = "open"


class Sender(NamedTuple):
    """Who sends a request that writes."""

    #: None on a collector without keys.
    key: WriteKey | None
    policy: consent.Policy
    signal: consent.Signal
    #: The session that the cookie names, or the query proposes.
    session_id: str | None
    #: The session that the cookie names: this browser has opened it.
    cookie_session_id: str | None
    address: str
    place: Place
    #: Let the page behind the request read the response.
    cors_headers: Headers

    def owns(self, session_id: str) -> bool:
        """Whether the sender may change, close or flush a session that is open."""
        return self.key is None or not self.key.is_public or session_id == self.cookie_session_id

    @property
    def is_visitor(self) -> bool:
        """Whether the headers are those of the visitor, not of a service."""
        return self.key is None or self.key.enrich


class Admission:
    """Checks each request before its body is decoded. The keys are replaced by assigning ``keys``."""

    def __init__(self, settings: Settings, keys: KeyRing | None) -> None:
        """Read the geo database.

        Raises:
            ConfigurationError: the geo database or a network in the settings is not valid.
        """
        self._settings = settings
        #: None: a collector without keys.
        self.keys = keys
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
        """Close the geo database."""
        if self._geo_database is not None:
            self._geo_database.close()

    def sender(self, request: Request) -> Sender:
        """Return who sends a request that writes.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized`` or ``forbidden``.
        """
        headers = request.headers
        address = self.admit(request)
        key = self._write_key(request)
        origin, host = headers.get("Origin"), headers.get("Host")
        cors_headers: Headers = ()
        if origin is not None:
            verdict = self._verdict(key, origin, host)
            if verdict == "refused":
                raise RequestError("forbidden", "this key may not be used from this origin")
            cors_headers = cors.response_headers(origin, host, verdict)
        policy, signal = consent.asked_for(
            dnt=headers.get("DNT"),
            gpc=headers.get("Sec-GPC"),
            dnt_policy=self._settings.dnt_policy,
            gpc_policy=self._settings.gpc_policy,
        )
        cookie = headers.get("Cookie") if policy == "ignore" else None
        session_id = cookie_session_id = session_from_cookie(cookie, self._settings.cookie_name)
        if session_id is None and request.query:
            session_id = proposed_session(query_field(request.query, "session"))
        place = self._place(request.peer, headers, address) if key is None or key.enrich else NOWHERE
        return Sender(key, policy, signal, session_id, cookie_session_id, address, place, cors_headers)

    def admit(self, request: Request) -> str:
        """Return the client's address, if it does not send too much.

        Raises:
            RequestError: ``rate_limited``.
        """
        address = self._proxies.client(request.peer, request.headers.get("X-Forwarded-For"))
        wait_seconds = self._ip_limits.take(rate_limited_as(address), 1, time.monotonic())
        if wait_seconds:
            raise _rate_limited("this address sends too many requests", wait_seconds)
        return address

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
        """Return the key that says whose sessions may be read; None without keys: all.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized`` or ``forbidden``.
        """
        self.admit(request)
        if self.keys is None:
            return None
        # Not from the query: addresses end up in logs and histories, where a secret must not be.
        presented = header_key(request)
        key = self.keys.read_key(presented) if presented else None
        if key is None:
            if presented and self.keys.write_key(presented) is not None:
                raise RequestError("forbidden", "a write key can't read: use a read key")
            raise RequestError("unauthorized", "send a read key as Authorization: Bearer KEY")
        return key

    def preflight(self, request: Request) -> Response:
        """Answer a browser that asks before it posts; the request itself is checked when it comes."""
        origin = request.headers.get("Origin")
        if origin is None:
            return Response(204)
        if self._verdict(self._known_write_key(request), origin, request.headers.get("Host")) == "refused":
            raise RequestError("forbidden", "no key may be used from this origin")
        return Response(204, headers=cors.preflight_headers())

    def cors_headers(self, request: Request) -> Headers:
        """Return the headers that let the page behind a request read the response; none for other clients."""
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if origin is None:
            return ()
        return cors.response_headers(origin, host, self._verdict(self._known_write_key(request), origin, host))

    def _write_key(self, request: Request) -> WriteKey | None:
        if self.keys is None:
            return None
        presented = presented_key(request)
        key = self.keys.write_key(presented) if presented else None
        if key is None:
            how = "in the header X-Write-Key, as Authorization: Bearer KEY, or as ?key=KEY"
            if presented and self.keys.read_key(presented) is not None:
                raise RequestError("forbidden", "a read key can't write: use a write key")
            raise RequestError("unauthorized", f"send a write key: {how}")
        return key

    def _known_write_key(self, request: Request) -> WriteKey | None:
        presented = None if self.keys is None else presented_key(request)
        return self.keys.write_key(presented) if self.keys is not None and presented else None

    def _verdict(self, key: WriteKey | None, origin: str, host: str | None) -> OriginVerdict:
        if cors.is_same_origin(origin, host):
            return "credentials"
        if self.keys is None:
            return cors.open_verdict(origin)
        return self.keys.any_verdict(origin) if key is None else key.origin_verdict(origin)

    def _place(self, peer: str, headers: Mapping[str, str], address: str) -> Place:
        if any(self._geo_headers) and self._proxies.trusts(peer):
            place = self._geo_headers.place(headers)
            if any(place):
                return place
        return NOWHERE if self._geo_database is None else self._geo_database.place(address)


def _rate_limited(message: str, wait_seconds: float) -> RequestError:
    return RequestError("rate_limited", message, retry_after_seconds=max(1, math.ceil(wait_seconds)))
