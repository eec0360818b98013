"""Who sends a request, and what they may do: key, origin, address, consent, session. Decides before the body is read.

Statements of a client about itself are only believed as far as its key or one of our proxies confirms them.
"""

from typing import Final

import msgspec
from multidict import CIMultiDictProxy

from tracker.collect.access import consent, cors
from tracker.collect.access.client_address import TrustedProxies
from tracker.collect.access.cookies import cookie_value, is_minted, proposed_session
from tracker.collect.access.geo import NOWHERE, Place, open_geo
from tracker.collect.access.keys import KeyRing, ReadKey, WriteKey
from tracker.collect.access.limits import Account, Limits
from tracker.collect.access.origins import page_origin
from tracker.collect.access.pages import Page, Pages
from tracker.collect.access.presented_key import header_key, presented_key, query_field
from tracker.collect.bug_ids import is_bug
from tracker.collect.errors import RequestError
from tracker.collect.http.headers import joined, single
from tracker.collect.http.messages import Headers, Request, Response
from tracker.collect.metrics import AccessMetrics
from tracker.settings import Settings

#: Methods by which a link can make a browser send a request.
_SAFE_METHODS: Final = ("GET", "HEAD")
#: For a request that no page of another origin has made.
_NO_PAGE: Final = Page("credentials", ())
#: Of a visitor who has not objected to anything.
_NO_SIGNAL: Final[tuple[consent.Policy, consent.Signal]] = ("ignore", "gpc")


class Sender(msgspec.Struct, frozen=True, gc=False):
    """Who sends a request that writes."""

    #: The write key; None on a collector without keys.
    key: WriteKey | None
    account: Account
    policy: consent.Policy
    signal: consent.Signal
    #: The session that the cookie names, or the query proposes.
    session_id: str | None
    #: The session that the cookie names: this browser has opened it.
    cookie_session_id: str | None
    #: Whether the response may set or prolong the session cookie.
    keeps_cookie: bool
    #: The visitor that the cookie names; empty: none.
    visitor_id: str
    #: Whether the response may set the visitor's cookie, or remove it.
    keeps_visitor: bool
    address: str
    place: Place
    #: Let the page behind the request read the response.
    cors_headers: Headers

    #: Whether the headers are those of the visitor, not of a service.
    is_visitor: bool

    def owns(self, session_id: str) -> bool:
        """Whether the sender may change, close or flush a session that is open."""
        return self.key is None or not self.key.is_public or session_id == self.cookie_session_id


class Admission:
    """Checks each request before its body is decoded."""

    def __init__(self, settings: Settings, keys: KeyRing | None, metrics: AccessMetrics) -> None:
        """Open the geo database.

        Raises:
            ConfigurationError: the geo database or a network in the settings is not valid.
        """
        self._settings = settings
        self._visitor_cookie = settings.visitor_cookie_name
        self.use_keys(keys)
        self.limits = Limits(settings, metrics.count_limited)
        self._metrics = metrics
        self.proxies = TrustedProxies(filter(None, settings.trusted_proxies.replace(",", " ").split()))
        self._geo = open_geo(settings)

    def use_keys(self, keys: KeyRing | None) -> None:
        """Use other keys from now on; None: a collector without keys."""
        self.keys = keys
        self._pages = Pages(keys)

    def close(self) -> None:
        """Close the geo database."""
        if self._geo is not None:
            self._geo.close()

    def sender(self, request: Request) -> Sender:
        """Return who sends a request that writes.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized``, ``forbidden``, or ``bad_request`` for ambiguous headers.
        """
        headers = request.headers
        address = self._address(request)
        key = self._write_key(request, address)
        account = self.limits.account(key, address)
        self.limits.request(account)
        origin = page_origin(request)
        page = _NO_PAGE if origin is None else self._pages.page(key, origin, headers.get("Host"))
        if page.verdict == "refused":
            raise RequestError("forbidden", "this key may not be used from this page")
        policy, signal = self._consent(headers) if "DNT" in headers or "Sec-GPC" in headers else _NO_SIGNAL
        may_use_cookie = policy == "ignore" and page.verdict == "credentials"
        in_cookie, proposed, keeps_cookie = self._session(request, may_use_cookie=may_use_cookie)
        is_visitor = key is None or key.enrich
        visitor_id, keeps_visitor = "", False
        if is_visitor and may_use_cookie and self._visitor_cookie:
            visitor_id, keeps_visitor = self._visitor(request)
        place = NOWHERE
        if is_visitor and self._geo is not None:
            place = self._geo.place(headers, address, is_trusted=self.proxies.trusts(request.peer))
        cors_headers = page.cors_headers if "Origin" in headers else ()
        return Sender(
            key,
            account,
            policy,
            signal,
            in_cookie or proposed,
            in_cookie,
            keeps_cookie,
            visitor_id,
            keeps_visitor,
            address,
            place,
            cors_headers,
            is_visitor,
        )

    def reader(self, request: Request) -> ReadKey | None:
        """Return the key that says whose sessions may be read; None without keys: all.

        Raises:
            RequestError: ``rate_limited``, ``unauthorized`` or ``forbidden``.
        """
        if self.keys is None:
            self.limits.request(self.limits.stranger(self._address(request)))
            return None
        # Not from the query: addresses end up in logs and histories, where a secret must not be.
        presented = header_key(request)
        key = self.keys.read_key(presented) if presented else None
        if key is None:
            self.limits.request(self.limits.stranger(self._address(request)))
            if presented and self.keys.write_key(presented) is not None:
                raise RequestError("forbidden", "a write key can't read: use a read key")
            raise RequestError("unauthorized", "send a read key as Authorization: Bearer KEY")
        return key

    def visitor(self, request: Request) -> None:
        """Count a request for a page or a file.

        Raises:
            RequestError: ``rate_limited``.
        """
        self.limits.request(self.limits.stranger(self._address(request)))

    def preflight(self, request: Request) -> Response:
        """Answer a browser that asks before it posts; the request itself is checked when it comes."""
        self.visitor(request)
        origin = single(request.headers, "Origin")
        if origin is None:
            return Response(204)
        if self._page_of(request, origin).verdict == "refused":
            raise RequestError("forbidden", "no key may be used from this origin")
        return Response(204, headers=cors.preflight_headers())

    def cors_headers(self, request: Request) -> Headers:
        """Return the headers that let the page behind a request read the response; none for other clients."""
        origin = request.headers.get("Origin")
        return () if origin is None else self._page_of(request, origin).cors_headers

    def _consent(self, headers: CIMultiDictProxy[str]) -> tuple[consent.Policy, consent.Signal]:
        return consent.asked_for(
            dnt="1" in headers.getall("DNT", ()),
            gpc="1" in headers.getall("Sec-GPC", ()),
            dnt_policy=self._settings.dnt_policy,
            gpc_policy=self._settings.gpc_policy,
        )

    def _address(self, request: Request) -> str:
        if not self.proxies:
            return request.peer
        return self.proxies.client(request.peer, joined(request.headers, "X-Forwarded-For"))

    def _write_key(self, request: Request, address: str) -> WriteKey | None:
        if self.keys is None:
            return None
        presented = presented_key(request)
        key = self.keys.write_key(presented) if presented else None
        if key is None:
            self.limits.request(self.limits.stranger(address))
            how = "in the header X-Write-Key, as Authorization: Bearer KEY, or as ?key=KEY"
            if presented and self.keys.read_key(presented) is not None:
                raise RequestError("forbidden", "a read key can't write: use a write key")
            raise RequestError("unauthorized", f"send a write key: {how}")
        return key

    def _known_write_key(self, request: Request) -> WriteKey | None:
        if self.keys is None:
            return None
        try:
            presented = presented_key(request)
        except RequestError:  # an ambiguous header, as the response says
            return None
        return self.keys.write_key(presented) if presented else None

    def _page_of(self, request: Request, origin: str) -> Page:
        return self._pages.page(self._known_write_key(request), origin, request.headers.get("Host"))

    def _session(self, request: Request, *, may_use_cookie: bool) -> tuple[str | None, str | None, bool]:
        """Return the session of the cookie, that of the query, and whether the response may set the cookie."""
        is_foreign = False
        if may_use_cookie and "Cookie" in request.headers:
            in_cookie = cookie_value(joined(request.headers, "Cookie", "; "), self._settings.cookie_name)
            # A page whose visitor has logged out names the session that ends with that.
            is_ended = bool(request.query) and in_cookie == query_field(request.query, "replaces")
            if in_cookie is not None and not is_ended and not is_bug(in_cookie):
                if is_minted(in_cookie) or self._settings.cookie_foreign_ids:
                    return in_cookie, None, True
                # Another application has a cookie of this name. It keeps it.
                is_foreign = True
                self._metrics.foreign_cookies.inc()
        proposed = proposed_session(query_field(request.query, "session")) if request.query else None
        if proposed is None or is_bug(proposed):
            return None, None, may_use_cookie and not is_foreign
        # A link could otherwise choose a visitor's session.
        return None, proposed, may_use_cookie and not is_foreign and request.method not in _SAFE_METHODS

    def _visitor(self, request: Request) -> tuple[str, bool]:
        """Return the visitor of the cookie, empty if it names none, and whether the response may change the cookie."""
        in_cookie = cookie_value(joined(request.headers, "Cookie", "; "), self._visitor_cookie)
        if in_cookie is not None and not is_minted(in_cookie):
            # Another application has a cookie of this name. It keeps it.
            self._metrics.foreign_cookies.inc()
            return "", False
        return in_cookie or "", self._settings.cookie_write and request.method not in _SAFE_METHODS
