"""What the edge decides with: addresses, rates, consent, the clock, the visitor. Each is pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from topics.visitor import Visitor
from tracker.collect.access import consent
from tracker.collect.access.client_address import TrustedProxies, kept_ip, rate_limited_as
from tracker.collect.access.rate_limits import RateLimits
from tracker.collect.records.clock_skew import MAX_EVENT_AGE, corrected, parse_time
from tracker.collect.records.geo import GeoHeaders, Place
from tracker.collect.records.visitor import Browser, browser_fields, page_fields, visitor_json
from tracker.errors import ConfigurationError

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
ANDROID_TABLET = "Mozilla/5.0 (Linux; Android 12; SM-T870) AppleWebKit/537.36 Chrome/112.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

visitor_adapter = TypeAdapter(Visitor)


# -- Addresses


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's word
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.7", "198.51.100.1"),  # what stands left of it is made up
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(peer, forwarded_for, client):
    assert TrustedProxies(["10.0.0.0/8"]).client(peer, forwarded_for) == client


def test_a_network_that_is_none_is_a_clear_error():
    with pytest.raises(ConfigurationError, match="TRACKER_TRUSTED_PROXIES"):
        TrustedProxies(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("address", "policy", "kept"),
    [
        ("198.51.100.77", "keep", "198.51.100.77"),
        ("198.51.100.77", "truncate", "198.51.100.0"),
        ("2001:db8:1:2:3:4:5:6", "truncate", "2001:db8:1::"),
        ("198.51.100.77", "drop", ""),
        ("", "keep", ""),
        ("unix", "truncate", ""),
    ],
)
def test_what_is_kept_of_an_address_is_the_policys(address, policy, kept):
    assert kept_ip(address, policy) == kept


def test_a_whole_ipv6_network_counts_as_one_sender():
    assert rate_limited_as("2001:db8::1") == rate_limited_as("2001:db8::ffff")
    assert rate_limited_as("2001:db8::1") != rate_limited_as("2001:db8:0:1::1")
    assert rate_limited_as("198.51.100.1") == "198.51.100.1"


# -- Rates


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 12)), max_size=80))
def test_nobody_gets_more_than_the_rate_and_a_burst_and_waiting_helps(steps):
    limits = RateLimits(rate_per_second=5, burst=10)
    now, taken = 100.0, 0
    for pause, tokens in steps:
        now += pause
        wait = limits.take("a", tokens, now)
        if wait == 0:
            taken += min(tokens, 10)
        else:
            assert limits.take("a", tokens, now + wait + 1e-6) == 0
            now += wait + 1e-6
            taken += min(tokens, 10)
        assert taken <= 10 + 5 * (now - 100) + 1e-3


def test_senders_do_not_share_a_bucket_and_memory_is_bounded():
    limits = RateLimits(rate_per_second=1, burst=1, max_senders=10)
    assert limits.take("a", 1, 0.0) == 0
    assert limits.take("a", 1, 0.0) == pytest.approx(1)
    assert limits.take("b", 1, 0.0) == 0
    for number in range(1_000):
        limits.take(str(number), 1, 0.0)
    assert len(limits._full_at) + len(limits._older) <= 10


def test_a_sender_may_have_a_rate_of_its_own():
    limits = RateLimits(rate_per_second=1, burst=5)
    assert limits.take("a", 50, 0.0, rate_per_second=10) == 0
    assert limits.take("a", 10, 0.0, rate_per_second=10) == pytest.approx(1)


# -- Consent


@pytest.mark.parametrize(
    ("dnt", "gpc", "expected"),
    [
        (None, None, "ignore"),
        ("0", "0", "ignore"),
        ("1", None, "anonymous"),
        (None, "1", "drop"),
        ("1", "1", "drop"),
    ],
)
def test_the_stricter_policy_wins(dnt, gpc, expected):
    assert consent.asked_for(dnt=dnt, gpc=gpc, dnt_policy="anonymous", gpc_policy="drop")[0] == expected


# -- The clock

RECEIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RECEIVED_MS = 1_767_323_045_000


@given(
    skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)), age=st.timedeltas(timedelta(0), timedelta(days=29))
)
def test_an_events_age_survives_whatever_the_clients_clock_says(skew, age):
    sent_at = RECEIVED + skew
    time = parse_time(corrected(sent_at - age, sent_at=sent_at, received_ms=RECEIVED_MS))
    assert abs((RECEIVED - time) - age) < timedelta(milliseconds=1)


@given(timestamp=st.datetimes(timezones=st.just(UTC)))
def test_no_event_is_from_the_future_or_older_than_it_can_be(timestamp):
    time = parse_time(corrected(timestamp, sent_at=datetime(2026, 1, 1, tzinfo=UTC), received_ms=RECEIVED_MS))
    assert RECEIVED - MAX_EVENT_AGE <= time <= RECEIVED


@pytest.mark.parametrize("text", [None, 5, "", "soon", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_none(text):
    assert parse_time(text) is None


# -- The visitor


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


def test_geo_headers_have_the_names_that_were_set():
    headers = {"CF-IPCountry": "at", "X-City": "Wien"}
    assert GeoHeaders("CF-IPCountry", "", "X-City").place(headers) == Place("AT", "", "Wien")
