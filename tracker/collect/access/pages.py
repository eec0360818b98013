"""Whether the page behind a request may use a key, and whether it may read the response."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from tracker.collect.access.cors import response_headers
from tracker.collect.access.keys import KeyRing, WriteKey
from tracker.collect.access.origins import OriginVerdict, is_same_origin, open_verdict
from tracker.collect.http.messages import Headers

#: Combinations of key, origin and host that are remembered. The key is remembered by its hash.
CACHE_ENTRIES: Final = 8_192


class Page(NamedTuple):
    """A page, as a key sees it."""

    verdict: OriginVerdict
    #: Let it read the response.
    cors_headers: Headers


class Pages:
    """All pages, by the rules of a key ring; None: of a collector without keys."""

    def __init__(self, keys: KeyRing | None) -> None:
        self._keys = keys
        self._cached: Callable[[str, str, str | None], Page] = lru_cache(maxsize=CACHE_ENTRIES)(self._page)

    def page(self, key: WriteKey | None, origin: str, host: str | None) -> Page:
        """Return the page of an origin; without a key, as any of the keys may see it: a preflight does not name one."""
        return self._cached("" if key is None else key.key_sha256, origin, host)

    def _page(self, key_sha256: str, origin: str, host: str | None) -> Page:
        verdict = self._verdict(key_sha256, origin, host)
        return Page(verdict, response_headers(origin, host, verdict))

    def _verdict(self, key_sha256: str, origin: str, host: str | None) -> OriginVerdict:
        if is_same_origin(origin, host):
            return "credentials"
        if self._keys is None:
            return open_verdict(origin)
        key = self._keys.write_key_of(key_sha256)
        return self._keys.any_verdict(origin) if key is None else key.origin_verdict(origin)
