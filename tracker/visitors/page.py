"""What the address of a page and its referrer tell of a visitor: the referring host, and the campaign. Pure."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from topics.visitor import MAX_HOST_CHARS
from tracker.errors import ConfigurationError
from tracker.visitors.campaign import CampaignReader, read_parameters
from tracker.visitors.visitor_json import json_inside, text

#: Pairs of page and referrer that are remembered.
PAGE_CACHE_ENTRIES: Final = 8_192


def new_page_reader(campaign_parameters: str) -> "PageReader":
    """Return a reader of page URLs with the parameters of TRACKER_CAMPAIGN_PARAMETERS.

    Raises:
        ConfigurationError: it is not valid.
    """
    try:
        return PageReader(CampaignReader(read_parameters(campaign_parameters)))
    except ValueError as error:
        raise ConfigurationError(f"TRACKER_CAMPAIGN_PARAMETERS: {error}") from None


class PageReader:
    """Reads pages."""

    def __init__(self, campaigns: CampaignReader | None = None) -> None:
        self._campaigns = campaigns or CampaignReader()
        #: Returns the fields of a page and its referrer as the inside of a JSON object. About 12 us, when new. A click
        #: id is one visitor's own, so an anonymous visitor has none.
        self.fields: Callable[[str, str, bool], bytes] = lru_cache(maxsize=PAGE_CACHE_ENTRIES)(self._fields)

    def _fields(self, page_url: str, referrer_url: str, is_anonymous: bool) -> bytes:  # noqa: FBT001 - for the cache
        fields = {"referrer_host": _referrer_host(page_url, referrer_url), **self._campaigns.fields(page_url)}
        if is_anonymous:
            fields.pop("click_id", None)
            fields.pop("click_id_type", None)
        return json_inside(fields)


def _referrer_host(page_url: str, referrer_url: str) -> str:
    """Return where the visitor came from; empty within one site."""
    host = _host(referrer_url)
    return "" if host == _host(page_url) else host


def _host(url: str) -> str:
    try:
        return text(urlsplit(url).hostname or "", MAX_HOST_CHARS)
    except ValueError:
        return ""
