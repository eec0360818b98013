"""What a request's headers tell of a visitor, in the visitor's own fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from topics.visitor import Visitor
from tracker.visitors.browser import Browser, browser_fields

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
ANDROID_TABLET = "Mozilla/5.0 (Linux; Android 12; SM-T870) AppleWebKit/537.36 Chrome/112.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

visitor_adapter = TypeAdapter(Visitor)


def visitor(browser: Browser, **options) -> dict:
    return visitor_adapter.validate_json(b"{" + browser_fields(browser, **options) + b"}")


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


@pytest.mark.parametrize(("field", "value"), [("ip", "fe80::1%" + "x" * 100), ("ip", 7)])
def test_a_field_that_does_not_fit_is_left_out_and_the_others_stay(field, value):
    """It is added to a record that was accepted: it must not make a dead letter of it."""
    found = visitor(Browser(FIREFOX)._replace(**{field: value}))
    assert field not in found
    assert found["browser"] == "Firefox"


@given(
    headers=st.lists(
        st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        min_size=5,
        max_size=5,
    ),
)
def test_whatever_headers_hold_fits_the_visitors_fields(headers):
    visitor(Browser(*headers))
