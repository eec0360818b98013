"""What the headers of a request tell of a visitor: browser, system, device, language. Pure.

It is worked out here only, so that replays give the same rows.
"""

import re
from typing import Any, Final, NamedTuple

import ua_parser

from topics.fields import MAX_ID_CHARS
from topics.visitor import MAX_LANGUAGE_CHARS, MAX_USER_AGENT_CHARS, DeviceType
from tracker.visitors.visitor_json import json_inside, text

#: Browsers that are remembered.
BROWSER_CACHE_ENTRIES: Final = 8_192

_DESKTOPS: Final = frozenset({"Windows", "Mac OS X", "Linux", "Ubuntu", "Fedora", "Debian", "Chrome OS", "FreeBSD"})
#: Programs that name themselves; ua-parser knows the great crawlers. (Cubot makes telephones.)
_BOT: Final = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|preview|scrap|monitor|lighthouse|phantomjs|facebookexternalhit"
    r"|^(curl|wget|python|java|go-http|okhttp|axios|node|ruby|perl|php|libwww|apache-http)",
    re.IGNORECASE,
)
_LANGUAGE: Final = re.compile(rf"[A-Za-z0-9-]{{1,{MAX_LANGUAGE_CHARS}}}")


class Browser(NamedTuple):
    """The details that all requests of a browser share."""

    user_agent: str = ""
    accept_language: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    ip: str = ""  # as much of it as may be stored


def read_tables() -> None:
    """Have ua-parser read its tables now (0.2 s, 27 MB) instead of while the first event waits."""
    ua_parser.parse("")


def browser_fields(browser: Browser, *, is_anonymous: bool = False) -> bytes:
    """Return the fields of a browser as the inside of a JSON object. About 25 us, when it is new.

    An anonymous visitor keeps only details that thousands share (browser, device, language, country).
    """
    user_agent = text(browser.user_agent, MAX_USER_AGENT_CHARS)
    fields = {
        **_agent(user_agent),
        "language": _language(browser.accept_language),
        "country": browser.country if re.fullmatch("[A-Z]{2}", browser.country) else "",
    }
    if not is_anonymous:
        fields["user_agent"] = user_agent
        fields["region"] = text(browser.region, MAX_ID_CHARS)
        fields["city"] = text(browser.city, MAX_ID_CHARS)
        fields["ip"] = browser.ip
    return json_inside(fields)


def _agent(user_agent: str) -> dict[str, Any]:
    parsed = ua_parser.parse(user_agent)
    agent, system, device = parsed.user_agent, parsed.os, parsed.device
    # Browsers always name themselves.
    is_bot = not user_agent or (device is not None and device.family == "Spider") or bool(_BOT.search(user_agent))
    fields: dict[str, Any] = {"device_type": _device_type(user_agent, parsed, is_bot=is_bot), "is_bot": is_bot}
    if agent is not None:
        fields["browser"] = text(agent.family, MAX_ID_CHARS)
        fields["browser_version"] = _version(agent.major, agent.minor)
    if system is not None:
        fields["os"] = text(system.family, MAX_ID_CHARS)
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
    return text(".".join(part for part in (major, minor) if part), MAX_ID_CHARS)


def _language(accept_language: str) -> str:
    """Return the first language, which browsers put there because it is preferred."""
    first = accept_language.partition(",")[0].partition(";")[0].strip()
    return first if _LANGUAGE.fullmatch(first) else ""
