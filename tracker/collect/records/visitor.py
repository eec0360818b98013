"""What a request tells of its visitor. It is worked out here only, so that replays give the same rows.

The result is a part of the record's JSON, in two pieces: one for the browser, one for the page. Both are cached.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson
import ua_parser

from topics.fields import MAX_ID_CHARS
from topics.visitor import (
    MAX_CAMPAIGN_TAG_CHARS,
    MAX_HOST_CHARS,
    MAX_LANGUAGE_CHARS,
    MAX_USER_AGENT_CHARS,
    DeviceType,
)

#: Browsers, and pairs of page and referrer, that are remembered.
BROWSER_CACHE_ENTRIES: Final = 8_192
PAGE_CACHE_ENTRIES: Final = 8_192
#: Parameters of a page's address that are looked at.
MAX_QUERY_FIELDS: Final = 100

UTM_TAGS: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

_DESKTOPS: Final = frozenset({"Windows", "Mac OS X", "Linux", "Ubuntu", "Fedora", "Debian", "Chrome OS", "FreeBSD"})
#: Programs that say so; ua-parser knows the great crawlers by itself. (Cubot makes telephones.)
_BOT: Final = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|preview|scrap|monitor|lighthouse|phantomjs|facebookexternalhit"
    r"|^(curl|wget|python|java|go-http|okhttp|axios|node|ruby|perl|php|libwww|apache-http)",
    re.IGNORECASE,
)
_LANGUAGE: Final = re.compile(rf"[A-Za-z0-9-]{{1,{MAX_LANGUAGE_CHARS}}}")


class Browser(NamedTuple):
    """What every request of one browser has in common, as its headers say it."""

    user_agent: str = ""
    accept_language: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    ip: str = ""  # as much of it as may be stored


def read_tables() -> None:
    """Have ua-parser read its tables now (0.2 s, 27 MB) instead of while the first event waits."""
    ua_parser.parse("")


@lru_cache(maxsize=BROWSER_CACHE_ENTRIES)
def browser_fields(browser: Browser, *, is_anonymous: bool = False) -> bytes:
    """Return what is known of a browser as the inside of a JSON object. About 20 us, when it is new.

    An anonymous visitor keeps what thousands share (browser, device, language, country), nothing that narrows it down.
    """
    user_agent = _text(browser.user_agent, MAX_USER_AGENT_CHARS)
    fields = {
        **_agent(user_agent),
        "language": _language(browser.accept_language),
        "country": browser.country if re.fullmatch("[A-Z]{2}", browser.country) else "",
    }
    if not is_anonymous:
        fields["user_agent"] = user_agent
        fields["region"] = _text(browser.region, MAX_ID_CHARS)
        fields["city"] = _text(browser.city, MAX_ID_CHARS)
        fields["ip"] = browser.ip
    return _inside(fields)


@lru_cache(maxsize=PAGE_CACHE_ENTRIES)
def page_fields(page_url: str, referrer_url: str) -> bytes:
    """Return what a page's address and its referrer tell, as the inside of a JSON object. About 8 us, when new."""
    fields = {"referrer_host": _referrer_host(page_url, referrer_url), **_campaign_tags(page_url)}
    return _inside(fields)


def visitor_json(browser: bytes, page: bytes) -> bytes:
    """Return both pieces as one JSON object; empty if neither says anything."""
    if browser and page:
        return b"{" + browser + b"," + page + b"}"
    return b"{" + (browser or page) + b"}" if browser or page else b""


def _agent(user_agent: str) -> dict[str, Any]:
    parsed = ua_parser.parse(user_agent)
    agent, system, device = parsed.user_agent, parsed.os, parsed.device
    # Browsers always name themselves.
    is_bot = not user_agent or (device is not None and device.family == "Spider") or bool(_BOT.search(user_agent))
    fields: dict[str, Any] = {"device_type": _device_type(user_agent, parsed, is_bot=is_bot), "is_bot": is_bot}
    if agent is not None:
        fields["browser"] = _text(agent.family, MAX_ID_CHARS)
        fields["browser_version"] = _version(agent.major, agent.minor)
    if system is not None:
        fields["os"] = _text(system.family, MAX_ID_CHARS)
        fields["os_version"] = _version(system.major, system.minor)
    return fields


def _device_type(user_agent: str, parsed: ua_parser.Result, *, is_bot: bool) -> DeviceType:
    if is_bot:
        return "bot"
    family = parsed.device.family if parsed.device else ""
    system = parsed.os.family if parsed.os else ""
    if "iPad" in family or "Tablet" in user_agent or (system == "Android" and "Mobile" not in user_agent):
        return "tablet"
    if "Mobi" in user_agent or system in ("iOS", "Android"):
        return "mobile"
    return "desktop" if system in _DESKTOPS else "other"


def _version(major: str | None, minor: str | None) -> str:
    return _text(".".join(part for part in (major, minor) if part), MAX_ID_CHARS)


def _language(accept_language: str) -> str:
    """Return the first language, which browsers put there because it is preferred."""
    first = accept_language.partition(",")[0].partition(";")[0].strip()
    return first if _LANGUAGE.fullmatch(first) else ""


def _referrer_host(page_url: str, referrer_url: str) -> str:
    """Return where the visitor came from; empty within one site."""
    host = _host(referrer_url)
    return "" if host == _host(page_url) else host


def _host(url: str) -> str:
    try:
        return _text(urlsplit(url).hostname or "", MAX_HOST_CHARS)
    except ValueError:
        return ""


def _campaign_tags(page_url: str) -> dict[str, str]:
    if "utm_" not in page_url:
        return {}
    try:
        query = parse_qsl(urlsplit(page_url).query, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    # Of several the first counts.
    return {name: _text(value, MAX_CAMPAIGN_TAG_CHARS) for name, value in reversed(query) if name in UTM_TAGS}


def _text(text: str, max_chars: int) -> str:
    """Cut a text to what its field takes; a header's bytes that are not UTF-8 become question marks."""
    return text[:max_chars].encode("utf-8", "replace").decode()


def _inside(fields: dict[str, Any]) -> bytes:
    """Serialise what is known, without the braces around it."""
    return orjson.dumps({name: value for name, value in fields.items() if value})[1:-1]
