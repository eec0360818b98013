"""A page is known by what its browser says of it, whatever the method."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.origins import OPAQUE, is_same_origin, open_verdict, page_origin
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request


def request(*headers: tuple[str, str]) -> Request:
    return Request("GET", "/", "", CIMultiDictProxy(CIMultiDict(headers)), b"", "198.51.100.1")


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ([], None),
        ([("Origin", "https://shop.example")], "https://shop.example"),
        ([("Origin", "null"), ("Referer", "https://shop.example/")], "null"),
        ([("Referer", "https://Shop.example:8443/a?b=c#d")], "https://shop.example:8443"),
        ([("Referer", "https://user@shop.example/")], "https://shop.example"),
        ([("Referer", "nonsense")], OPAQUE),
        ([("Referer", "http://[")], OPAQUE),
        ([("Referer", "//shop.example/")], OPAQUE),
        ([("Referer", "about:blank")], OPAQUE),
        ([("Referer", "")], OPAQUE),
        ([("Sec-Fetch-Site", "cross-site")], OPAQUE),
        ([("Sec-Fetch-Site", "cross-site"), ("Referer", "https://evil.test/")], "https://evil.test"),
        ([("Sec-Fetch-Site", "same-origin")], None),
        ([("Sec-Fetch-Site", "same-site")], None),
        ([("Sec-Fetch-Site", "none")], None),
    ],
)
def test_the_page_behind_a_request(headers, origin):
    assert page_origin(request(*headers)) == origin


@pytest.mark.parametrize("name", ["Origin", "Referer", "Sec-Fetch-Site"])
def test_a_header_that_comes_twice_is_refused(name):
    with pytest.raises(RequestError) as caught:
        page_origin(request((name, "https://shop.example"), (name.lower(), "https://evil.test")))
    assert caught.value.code == "bad_request"


def test_without_keys_only_pages_of_this_machine_get_their_cookies():
    hosts = ("localhost", "localhost:3000", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080")
    assert {open_verdict(f"{scheme}://{host}") for host in hosts for scheme in ("http", "https")} == {"credentials"}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "localhost",
        "https://evil.test",
        "https://evil.test://localhost",
        "http://localhost.evil.test",
        "http://evil.test.localhost",
        "http://localhost:3000.evil.test",
        "http://localhost:evil",
        "http://localhost:",
        "http://127.0.0.10",
        "http://127x0x0x1",
        "http://[::1].evil.test",
        "http://[::12]",
        "http://[::]",
    ],
)
def test_a_page_of_another_machine_gets_no_cookies_whatever_its_name_looks_like(origin):
    assert open_verdict(origin) == "plain"


def test_a_page_of_the_collector_itself_is_known_by_the_host():
    assert is_same_origin("https://collect.example", "collect.example")
    assert not is_same_origin("https://collect.example.evil.test", "collect.example")
    assert not is_same_origin("https://evil.test://collect.example", "collect.example")
    for host in (None, "", "null"):
        assert not is_same_origin("null", host)
