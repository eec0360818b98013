"""Which campaign has brought a visitor: utm tags and click ids in the address of a page. Pure.

They are found in the query, in the fragment and in the query of a hash route, in any case, behind ``&amp;``,
and among any number of other parameters. Of several with the same meaning the first in the address counts.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote_plus

from topics.visitor import MAX_CAMPAIGN_TAG_CHARS, MAX_CLICK_ID_CHARS

UTM_TAGS: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
CLICK_ID: Final = "click_id"

#: Parameters with the meaning of a utm tag: Matomo's.
_ALIASES: Final[Mapping[str, str]] = {
    "mtm_source": "utm_source",
    "mtm_medium": "utm_medium",
    "mtm_campaign": "utm_campaign",
    "mtm_kwd": "utm_term",
    "mtm_keyword": "utm_term",
    "mtm_content": "utm_content",
    "pk_source": "utm_source",
    "pk_medium": "utm_medium",
    "pk_campaign": "utm_campaign",
    "pk_kwd": "utm_term",
    "pk_keyword": "utm_term",
    "pk_content": "utm_content",
}

#: Parameters with a click id. The first in this order that an address has counts: paid clicks before those parameters
#: that are added to any link (docs/decisions/0035).
CLICK_ID_PARAMETERS: Final = (
    "gclid",  # Google Ads
    "wbraid",  # Google Ads, from an app to the web
    "gbraid",  # Google Ads, from the web to an app
    "dclid",  # Google Display & Video 360, Campaign Manager
    "msclkid",  # Microsoft Advertising
    "ttclid",  # TikTok
    "twclid",  # X
    "li_fat_id",  # LinkedIn
    "rdt_cid",  # Reddit
    "sccid",  # Snapchat
    "epik",  # Pinterest
    "qclid",  # Quora
    "yclid",  # Yandex Direct
    "ymclid",  # Yandex Market
    "tblci",  # Taboola
    "obclid",  # Outbrain
    "dicbo",  # Outbrain
    "vmcid",  # Yahoo
    "irclickid",  # impact.com
    "cjevent",  # CJ
    "awc",  # Awin
    "wickedid",  # Wicked Reports
    "fbclid",  # Meta: also on links that are no advertisement
    "igshid",  # Instagram: on links that are shared
)


class CampaignReader:
    """Reads the campaign from addresses. ``extra`` has further parameters, each with its field."""

    def __init__(self, extra: Mapping[str, str] | None = None) -> None:
        extra = {name.lower(): field for name, field in (extra or {}).items()}
        self._tags = {**{tag: tag for tag in UTM_TAGS}, **_ALIASES}
        self._tags |= {name: field for name, field in extra.items() if field != CLICK_ID}
        added = [name for name, field in extra.items() if field == CLICK_ID]
        #: The place of each parameter with a click id in the order of preference.
        self._click_ids = {name: place for place, name in enumerate([*added, *CLICK_ID_PARAMETERS])}
        names = "|".join(re.escape(name) for name in sorted({*self._tags, *self._click_ids}, key=len, reverse=True))
        self._parameter = re.compile(rf"[?&#](?:amp;)*({names})=([^&#]*)", re.IGNORECASE)

    def fields(self, page_url: str) -> dict[str, str]:
        """Return the visitor's fields that an address fills. About 5 us."""
        fields: dict[str, str] = {}
        best = len(self._click_ids)
        for name, raw in self._parameter.findall(page_url):
            name = name.lower()  # noqa: PLW2901 - the parameter's name has no case
            value = unquote_plus(raw)
            tag = self._tags.get(name)
            if tag is not None:
                if value and tag not in fields:
                    fields[tag] = value[:MAX_CAMPAIGN_TAG_CHARS]
            elif value and len(value) <= MAX_CLICK_ID_CHARS and self._click_ids[name] < best:
                best = self._click_ids[name]
                fields[CLICK_ID], fields["click_id_type"] = value, name
        return fields


def read_parameters(text: str) -> dict[str, str]:
    """Read the setting ``TRACKER_CAMPAIGN_PARAMETERS``: ``name=field, name=field``.

    Raises:
        ValueError: a parameter is not valid; the message says why.
    """
    return dict(_read_parameters(part.strip() for part in text.split(",")))


def _read_parameters(parts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for part in filter(None, parts):
        name, _, field = (each.strip() for each in part.partition("="))
        if not re.fullmatch(r"[A-Za-z0-9_.~-]{1,64}", name):
            raise ValueError(f"{part!r}: a parameter's name has 1 to 64 letters, digits, _ . ~ or -")
        if field not in (*UTM_TAGS, CLICK_ID):
            raise ValueError(f"{part!r}: the field after = must be one of {', '.join((*UTM_TAGS, CLICK_ID))}")
        yield name, field
