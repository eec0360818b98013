"""What a row's page and user agent tell of its visitor, read as the collector reads them live. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from tracker.visitors.browser import BROWSER_CACHE_ENTRIES, Browser, browser_fields
from tracker.visitors.page import PageReader

#: Pages with their referrers that are remembered.
PAGE_CACHE_ENTRIES: Final = 8_192


class VisitorReader:
    """Fills a visitor's fields. About 1 us a row whose page and browser have been seen before."""

    def __init__(self, pages: PageReader) -> None:
        def of_page(page_url: str, referrer_url: str) -> dict[str, Any]:
            return _fields(pages.fields(page_url, referrer_url, False))  # noqa: FBT003 - it has no keywords

        self._of_page = lru_cache(maxsize=PAGE_CACHE_ENTRIES)(of_page)
        self._of_browser = lru_cache(maxsize=BROWSER_CACHE_ENTRIES)(_of_browser)

    def filled(self, visitor: dict[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
        """Return a visitor's fields; what the row says itself counts first."""
        found = visitor
        if user_agent := visitor.get("user_agent"):
            found = self._of_browser(user_agent) | found
        page_url, referrer_url = event.get("page_url"), event.get("referrer_url")
        if page_url or referrer_url:
            found = self._of_page(page_url or "", referrer_url or "") | found
        return found


def _of_browser(user_agent: str) -> dict[str, Any]:
    return _fields(browser_fields(Browser(user_agent=user_agent)))


def _fields(inside: bytes) -> dict[str, Any]:
    return orjson.loads(b"{" + inside + b"}")  # type: ignore[no-any-return]
