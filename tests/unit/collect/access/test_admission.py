"""Who a request comes from and what they may do, decided before its body is looked at."""

import contextlib
import functools
import gc
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access import limits
from tracker.collect.access.admission import Admission, Sender
from tracker.collect.access.keys import read_keys
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.collect.metrics import CollectMetrics
from tracker.settings import Settings

KEY = "write-key-of-w1-0123"
SERVICE_KEY = "service-key-of-w1-0123"
SHOP = "https://shop.example"
MINTED = "01a20bc4-6db1-7727-96d7-27d374d76c47"
OTHER = "01a20bc4-6db1-7727-96d7-27d374d76c48"


def request(
    method: str = "POST", query: str = "", lines: list[tuple[str, str]] | None = None, **headers: str
) -> Request:
    named = [*(lines or []), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return Request(method, "/", query, CIMultiDictProxy(CIMultiDict(named)), b"", "198.51.100.1")


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.json"
    page = {"name": "page", "key": KEY, "workspace_id": "w1", "origins": [SHOP]}
    service = {"name": "service", "key": SERVICE_KEY, "workspace_id": "w1"}
    path.write_bytes(orjson.dumps({"write_keys": [page, service]}))
    return path


def admission(keys_file=None, **changes: Any) -> Admission:
    settings = Settings(_env_file=None, keys_file=keys_file, **changes)
    keys = None if keys_file is None else read_keys(keys_file)
    return Admission(settings, keys, CollectMetrics().access)


def refused(admit: Admission, asked: Request) -> str:
    with pytest.raises(RequestError) as caught:
        admit.sender(asked)
    return caught.value.code


# -- Addresses


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        # A proxy that adds a line of its own, as HAProxy does: the client's own line counts for nothing.
        (["1.2.3.4", "203.0.113.7"], "203.0.113.7"),
        (["1.2.3.4, 5.6.7.8", "203.0.113.7, 198.51.100.9"], "203.0.113.7"),
        (["203.0.113.7"], "203.0.113.7"),
    ],
)
def test_all_lines_of_x_forwarded_for_count(lines, address):
    admit = admission(trusted_proxies="198.51.100.0/24")
    assert admit.sender(request(lines=[("X-Forwarded-For", line) for line in lines])).address == address


@pytest.mark.parametrize("lines", [["0", "1"], ["1", "0"], ["1"]])
def test_an_objection_in_any_line_counts(lines):
    assert admission().sender(request(lines=[("DNT", line) for line in lines])).policy == "anonymous"


@pytest.mark.parametrize("name", ["X-Write-Key", "Authorization", "Origin"])
def test_a_header_that_decides_something_may_come_once(keys_file, name):
    admit = admission(keys_file)
    twice = request(query=f"key={KEY}", lines=[(name, f"Bearer {KEY}"), (name.upper(), "another")])
    assert refused(admit, twice) == "bad_request"
    assert ("Access-Control-Allow-Origin", "*") in admit.cors_headers(
        request(lines=[*twice.headers.items()], Origin="x")
    )


# -- Pages

GET_BY_PAGE = [
    ({"Referer": f"{SHOP}/a"}, None),
    ({"Referer": "https://evil.test/"}, "forbidden"),
    ({"Sec_Fetch_Site": "cross-site"}, "forbidden"),
    ({"Sec_Fetch_Site": "cross-site", "Referer": f"{SHOP}/"}, None),
    ({"Sec_Fetch_Site": "none"}, None),
    ({"Origin": "https://evil.test"}, "forbidden"),
    ({}, None),
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(("headers", "code"), GET_BY_PAGE)
def test_a_keys_origins_hold_for_every_method(keys_file, method, headers, code):
    admit, asked = admission(keys_file), request(method, f"key={KEY}", **headers)
    if code is None:
        assert admit.sender(asked).key.name == "page"
    else:
        assert refused(admit, asked) == code


def test_no_page_may_use_a_services_key(keys_file):
    for headers in ({"Origin": SHOP}, {"Referer": f"{SHOP}/"}, {"Sec_Fetch_Site": "cross-site"}):
        assert refused(admission(keys_file), request("GET", f"key={SERVICE_KEY}", **headers)) == "forbidden"


# -- Sessions


def session(admit: Admission, asked: Request) -> tuple[str | None, bool]:
    sender: Sender = admit.sender(asked)
    return sender.session_id, sender.keeps_cookie


@pytest.mark.parametrize(
    ("method", "cookie", "query", "session_id", "keeps_cookie"),
    [
        ("POST", None, "", None, True),
        ("POST", MINTED, "", MINTED, True),
        ("POST", MINTED, OTHER, MINTED, True),
        ("POST", None, OTHER, OTHER, True),
        # A link must not choose a visitor's session.
        ("GET", None, OTHER, OTHER, False),
        ("HEAD", None, OTHER, OTHER, False),
        ("GET", MINTED, OTHER, MINTED, True),
        ("GET", None, "", None, True),
        # Mistakes of a program are no ids: a new one is minted, and kept.
        ("POST", "undefined", "", None, True),
        ("POST", "undefined", OTHER, OTHER, True),
        ("POST", None, "null", None, True),
        ("GET", None, "null", None, True),
        # Another application's cookie is not ours to read or to write.
        ("POST", "login-of-another", "", None, False),
        ("POST", "login-of-another", OTHER, OTHER, False),
    ],
)
def test_where_a_session_comes_from_and_whether_the_cookie_is_kept(method, cookie, query, session_id, keeps_cookie):
    headers = {} if cookie is None else {"Cookie": f"a=b; tracker_session={cookie}"}
    asked = request(method, f"session={query}" if query else "", **headers)
    assert session(admission(), asked) == (session_id, keeps_cookie)


def test_ids_that_others_have_minted_are_taken_if_a_setting_says_so():
    asked = request(Cookie="session_id=login-of-another")
    assert session(admission(cookie_name="session_id", cookie_foreign_ids=True), asked) == ("login-of-another", True)


def test_a_cookie_that_comes_in_two_lines_is_one_header():
    asked = request(lines=[("Cookie", "a=b"), ("Cookie", f"tracker_session={MINTED}")])
    assert session(admission(), asked) == (MINTED, True)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.test"}, {"Referer": "https://evil.test/"}])
def test_a_page_that_may_not_use_cookies_neither_reads_nor_sets_one(headers):
    """Any page may post to a collector without keys, but not as the visitor that another page knows."""
    assert session(admission(), request(Cookie=f"tracker_session={MINTED}", **headers)) == (None, False)
    assert session(admission(), request(query=f"session={OTHER}", **headers)) == (OTHER, False)


def test_a_visitor_who_objects_has_no_cookie():
    asked = request(Cookie=f"tracker_session={MINTED}", DNT="1")
    assert session(admission(), asked) == (None, False)


def test_no_key_is_kept_in_clear(keys_file):
    """A memory dump of the collector shows no key that a client has presented, right or wrong."""
    admit = admission(keys_file)
    wrong = "a-read-key-in-the-wrong-place"
    for presented in (KEY, wrong):
        for query, headers in ((f"key={presented}", {}), ("", {"X-Write-Key": presented})):
            asked = request(query=query, Origin=SHOP, lines=[*headers.items()])
            admit.cors_headers(asked)
            with contextlib.suppress(RequestError):
                admit.sender(asked)
    asked = None
    gc.unfreeze()  # the run has frozen the caches that were made as modules loaded
    gc.collect()
    caches = [each for each in gc.get_objects() if isinstance(each, functools._lru_cache_wrapper)]
    held = [str(gc.get_referents(cache)) for cache in caches]
    assert held
    assert not any(KEY in text or wrong in text for text in held)


@pytest.mark.parametrize(
    ("scope", "cookie", "query", "owns"),
    [
        ("public", MINTED, "", True),
        ("public", OTHER, "", False),
        ("public", None, "", False),
        ("public", None, f"session={MINTED}", False),
        ("secret", None, "", True),
    ],
    ids=["with its cookie", "with another cookie", "without", "proposed by the address", "a service"],
)
def test_a_public_key_owns_the_session_of_its_cookie_and_a_secret_key_all(tmp_path, scope, cookie, query, owns):
    path = tmp_path / "keys.json"
    path.write_bytes(orjson.dumps({"write_keys": [{"name": "k", "key": KEY, "workspace_id": "w1", "scope": scope}]}))
    headers = {"X_Write_Key": KEY} | ({"Cookie": f"tracker_session={cookie}"} if cookie else {})
    assert admission(path).sender(request(query=query, **headers)).owns(MINTED) == owns


def test_without_keys_everybody_owns_every_session():
    assert admission().sender(request()).owns(MINTED)


@pytest.mark.parametrize(
    ("query", "cookie", "session_id"),
    [
        (f"session={OTHER}", "", OTHER),
        (f"session={OTHER}", MINTED, MINTED),
        (f"session={OTHER}&replaces={MINTED}", MINTED, OTHER),
        (f"session={OTHER}&replaces={OTHER}", MINTED, MINTED),
        (f"session={OTHER}&replaces=", MINTED, MINTED),
        (f"session=n%20w&replaces={MINTED}", MINTED, None),
    ],
)
def test_the_cookies_session_counts_unless_the_page_has_ended_that_one(query: str, cookie: str, session_id: str | None):
    headers = {"Cookie": f"tracker_session={cookie}"} if cookie else {}
    assert admission().sender(request(query=query, **headers)).session_id == session_id


# -- What counts against an address


STRANGE_KEY = "nobody-has-this-key-0123"


@pytest.mark.parametrize(
    ("has_keys", "ask", "asked", "before"),
    [
        (True, "preflight", request("OPTIONS", Origin=SHOP), set()),
        (False, "preflight", request("OPTIONS", Origin=SHOP), set()),
        (True, "visitor", request("GET"), set()),
        (True, "sender", request(X_Write_Key=KEY, Origin=SHOP), set()),
        (False, "sender", request(), set()),
        (True, "sender", request(X_Write_Key=STRANGE_KEY), {"unauthorized"}),
        (True, "sender", request(), {"unauthorized"}),
        (False, "reader", request("GET"), set()),
        (True, "reader", request("GET"), {"unauthorized"}),
        (True, "reader", request("GET", Authorization=f"Bearer {KEY}"), {"forbidden"}),
    ],
)
def test_requests_of_every_kind_count_against_their_address(
    keys_file, monkeypatch, *, has_keys: bool, ask: str, asked: Request, before: set[str]
):
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    admit = admission(keys_file if has_keys else None, collect_open=True, collect_ip_requests_per_second=1)
    codes = []
    for _ in range(100):
        try:
            getattr(admit, ask)(asked)
        except RequestError as error:
            codes.append(error.code)
    assert set(codes[: codes.index("rate_limited")]) == before
    assert set(codes[codes.index("rate_limited") :]) == {"rate_limited"}


# -- What a browser is told before it posts


@pytest.mark.parametrize("origin", [None, SHOP])
def test_a_browser_that_asks_first_is_told_methods_and_headers_and_how_long_that_holds(keys_file, origin):
    response = admission(keys_file).preflight(request("OPTIONS", **({} if origin is None else {"Origin": origin})))
    assert (response.status, response.body) == (204, b"")
    assert dict(response.headers) == (
        {}
        if origin is None
        else {
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Encoding, Content-Type, Traceparent, X-Write-Key",
            "Access-Control-Max-Age": "7200",
        }
    )


def test_cookies_of_other_applications_are_counted(keys_file):
    metrics = CollectMetrics()
    admit = Admission(Settings(_env_file=None), None, metrics.access)
    for value in ("login-of-another", MINTED, "undefined", "login-of-another"):
        admit.sender(request(Cookie=f"tracker_session={value}"))
    assert b"tracker_collect_foreign_cookies_total 2.0" in metrics.exposition()


# -- What follows from the key, and from what the browser says


def test_what_a_request_costs_is_counted_against_its_key_and_a_pages_against_its_address_too(keys_file):
    admit = admission(keys_file)
    page, service = (admit.sender(request(X_Write_Key=key)) for key in (KEY, SERVICE_KEY))
    assert (page.account.key, service.account.key) == (page.key, service.key)
    assert (page.account.address is None, service.account.address is None) == (False, True)


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({"DNT": "1"}, ("anonymous", "dnt")),
        ({"Sec_GPC": "1"}, ("drop", "gpc")),
        ({"DNT": "0"}, ("ignore", "gpc")),
        ({}, ("ignore", "gpc")),
    ],
)
def test_a_visitor_is_treated_as_the_signal_says_that_is_told(headers, signal):
    sender = admission(dnt_policy="anonymous", gpc_policy="drop").sender(request(**headers))
    assert (sender.policy, sender.signal) == signal


def test_the_visitors_cookie_is_not_looked_for_in_what_a_service_sends(tmp_path):
    path = tmp_path / "keys.json"
    keys = [
        {"name": name, "key": key, "workspace_id": "w1", "enrich": name == "page"}
        for name, key in (("page", KEY), ("service", SERVICE_KEY))
    ]
    path.write_bytes(orjson.dumps({"write_keys": keys}))
    admit = admission(path, visitor_cookie_name="tracker_visitor")
    page, service = (
        admit.sender(request(X_Write_Key=key, Cookie=f"tracker_visitor={MINTED}")) for key in (KEY, SERVICE_KEY)
    )
    assert (page.visitor_id, page.keeps_visitor) == (MINTED, True)
    assert (service.visitor_id, service.keeps_visitor) == ("", False)


def test_only_who_sends_an_origin_is_told_who_may_read_the_response(keys_file):
    admit = admission(keys_file)
    assert admit.sender(request("GET", X_Write_Key=KEY, Referer=f"{SHOP}/a")).cors_headers == ()
    assert dict(admit.sender(request(X_Write_Key=KEY, Origin=SHOP)).cors_headers)["Access-Control-Allow-Origin"] == SHOP


def test_who_has_no_key_is_told_how_to_send_one(keys_file):
    with pytest.raises(
        RequestError, match=r"in the header X-Write-Key, as Authorization: Bearer KEY, or as \?key=KEY$"
    ):
        admission(keys_file).sender(request())
