"""What a request's headers and its page tell of a visitor, in the visitor's own fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from topics.visitor import Visitor
from tracker.collect.records.visitor import Browser, browser_fields, page_fields, visitor_json

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
ANDROID_TABLET = "Mozilla/5.0 (Linux; Android 12; SM-T870) AppleWebKit/537.36 Chrome/112.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

visitor_adapter = TypeAdapter(Visitor)


def visitor(browser: Browser, page: str = "", referrer: str = "", **options) -> dict:
    joined = visitor_json(browser_fields(browser, **options), page_fields(page, referrer))
    return visitor_adapter.validate_json(joined or b"{}")


def test_a_browser_is_known_by_its_headers():
    found = visitor(Browser(FIREFOX, "de-AT,de;q=0.9", "AT", "Wien", "Wien", "198.51.100.0"))
    assert found == {
        "user_agent": FIREFOX,
        "browser": "Firefox",
        "browser_version": "128.0",
        "os": "Linux",
        "device_type": "desktop",
        "language": "de-AT",
        "country": "AT",
        "region": "Wien",
        "city": "Wien",
        "ip": "198.51.100.0",
    }


@pytest.mark.parametrize(
    ("user_agent", "device_type", "is_bot"),
    [
        (FIREFOX, "desktop", False),
        (IPHONE, "mobile", False),
        (ANDROID_TABLET, "tablet", False),
        (GOOGLEBOT, "bot", True),
        ("curl/8.5.0", "bot", True),
        (FIREFOX.replace("Firefox", "HeadlessChrome"), "bot", True),
        ("", "bot", True),
        (
            ANDROID_TABLET.replace("SM-T870", "CUBOT X30").replace("Chrome/112.0", "Chrome/112.0 Mobile"),
            "mobile",
            False,
        ),
        ("SomethingElse/1.0", "other", False),
    ],
)
def test_devices_are_told_apart_and_bots_are_flagged(user_agent, device_type, is_bot):
    found = visitor(Browser(user_agent))
    assert (found["device_type"], found.get("is_bot", False)) == (device_type, is_bot)


def test_an_anonymous_visitor_keeps_only_what_thousands_share():
    found = visitor(Browser(FIREFOX, "de", "AT", "Wien", "Wien", "198.51.100.0"), is_anonymous=True)
    assert found.keys() == {"browser", "browser_version", "os", "device_type", "language", "country"}


def test_a_page_tells_of_its_campaign_and_its_referrer():
    page = "https://shop.example/a?utm_source=mail&utm_campaign=spring%20sale&utm_source=other&x=1&utm_term="
    found = visitor(Browser(FIREFOX), page, "https://Search.example:8443/find?q=1")
    assert (found["utm_source"], found["utm_campaign"], found["referrer_host"]) == (
        "mail",
        "spring sale",
        "search.example",
    )
    assert "utm_term" not in found
    assert "referrer_host" not in visitor(Browser(FIREFOX), page, "https://shop.example/b")


@given(
    headers=st.lists(
        st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        min_size=5,
        max_size=5,
    ),
    page=st.text(max_size=60)
    | st.sampled_from(["https://[", "https://a/?utm_source=" + "x" * 5_000, "//a@b:c/?utm_term=%ff"]),
    referrer=st.text(max_size=60) | st.sampled_from(["http://" + "a" * 5_000, "https://\x1b[31m/"]),
)
def test_whatever_is_sent_fits_the_visitors_fields(headers, page, referrer):
    visitor(Browser(*headers), page, referrer)
