"""What a request says of itself is believed only where a proxy of ours, or an origin that is allowed, stands for it."""

from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tests.geo_file import write_geo_file
from tracker.collect.access.admission import Admission
from tracker.collect.access.client_address import MAX_HOPS, TrustedProxies
from tracker.collect.access.geo import NOWHERE, Place, open_geo
from tracker.collect.access.keys import read_keys
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.collect.metrics import CollectMetrics
from tracker.settings import Settings

PROXY, STRANGER, VISITOR = "10.0.0.1", "203.0.113.9", "198.51.100.1"
WRITE_KEY, SERVICE_KEY, READ_KEY = "a-write-key-of-w1-0", "a-service-key-of-w1", "a-read-key-of-w1-00"
SHOP = "https://*.shop.example"
GEO_HEADERS = {"geo_country_header": "CF-IPCountry", "geo_city_header": "CF-IPCity"}
SAID = {"CF-IPCountry": "at", "CF-IPCity": "Wien"}


def request(peer: str = STRANGER, query: str = "", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/", query, CIMultiDictProxy(CIMultiDict(named)), b"", peer)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write_keys = [
        {"name": "shop", "key": WRITE_KEY, "workspace_id": "w1", "origins": [SHOP, "https://one.example"]},
        {"name": "service", "key": SERVICE_KEY, "workspace_id": "w1", "enrich": False},
    ]
    read_keys_ = [{"name": "bi", "key": READ_KEY, "workspace_id": "w1"}]
    path.write_bytes(orjson.dumps({"write_keys": write_keys, "read_keys": read_keys_}))
    return path


def admission_of(keys_file: Path | None = None, **settings: object) -> Admission:
    given = Settings(_env_file=None, keys_file=keys_file, **{"trusted_proxies": "10.0.0.0/8", **settings})
    return Admission(given, None if keys_file is None else read_keys(keys_file), CollectMetrics().access)


# Addresses


def test_the_client_is_the_last_stranger_however_many_hops_are_made_up_before_it():
    proxies = TrustedProxies(["10.0.0.0/8"])
    for made_up in (1, MAX_HOPS - 1, MAX_HOPS, 3 * MAX_HOPS):
        header = ", ".join([*["6.6.6.6"] * made_up, VISITOR])
        assert proxies.client(PROXY, header) == VISITOR


def test_proxies_in_a_row_are_passed_and_only_so_many_are_believed():
    proxies = TrustedProxies(["10.0.0.0/8"])
    hops = [f"10.0.1.{number}" for number in range(MAX_HOPS)]
    assert proxies.client(PROXY, ", ".join([VISITOR, *hops[:-1]])) == VISITOR
    assert proxies.client(PROXY, ", ".join([VISITOR, *hops])) == hops[0]


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("10.0.0.9", "10.0.0.9"),  # nobody but proxies
        (f"{VISITOR}, nonsense", PROXY),
        (f"{VISITOR},nonsense,10.0.0.9", "10.0.0.9"),
        (f"X{VISITOR}", PROXY),
        (f' "{VISITOR}" ', VISITOR),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.1", VISITOR),
        ("", PROXY),
        (",", PROXY),
    ],
)
def test_an_address_is_read_as_proxies_write_it_and_nothing_else_is_one(header, client):
    assert TrustedProxies(["10.0.0.0/8"]).client(PROXY, header) == client


def test_without_trusted_networks_nobody_is_believed():
    assert TrustedProxies([]).client(PROXY, VISITOR) == PROXY


@pytest.mark.parametrize("peer", ["", "unix", "a socket", "10.0.0.256"])
def test_what_is_no_address_is_no_proxy_of_ours(peer):
    assert TrustedProxies(["0.0.0.0/0", "::/0"]).client(peer, VISITOR) == peer


def test_a_network_may_be_given_by_one_of_its_addresses_and_several_by_commas_or_spaces():
    assert TrustedProxies(["10.0.0.7/8"]).client(PROXY, VISITOR) == VISITOR
    admission = admission_of(trusted_proxies="192.0.2.0/24,10.0.0.0/8  2001:db8::/32")
    for peer in ("192.0.2.1", PROXY, "2001:db8::7"):
        assert admission.sender(request(peer, X_Forwarded_For=VISITOR)).address == VISITOR


# Places


def test_geo_headers_are_believed_from_our_proxies_only(keys_file):
    admission = admission_of(**GEO_HEADERS)
    behind_proxy = admission.sender(request(PROXY, **SAID))
    assert behind_proxy.place == Place("AT", "", "Wien")
    assert admission.sender(request(STRANGER, **SAID)).place == NOWHERE
    assert admission.sender(request(STRANGER, X_Forwarded_For=PROXY, **SAID)).place == NOWHERE


def test_the_database_says_where_the_client_is_when_the_proxy_does_not(tmp_path):
    file = tmp_path / "city.mmdb"
    write_geo_file(file, "198.51.100.0/24", {"country": {"iso_code": "NZ"}})
    admission = admission_of(geo_database=file, **GEO_HEADERS)
    assert admission.sender(request(PROXY, X_Forwarded_For=VISITOR)).place == Place("NZ")
    assert admission.sender(request(PROXY, X_Forwarded_For=VISITOR, **SAID)).place == Place("AT", "", "Wien")
    assert admission.sender(request(VISITOR, **SAID)).place == Place("NZ")
    admission.close()
    assert admission.sender(request("198.51.100.2")).place == NOWHERE, "it has let go of the file"


@pytest.mark.parametrize("settings", [{}, GEO_HEADERS])
def test_without_a_database_there_is_nothing_to_close(settings):
    admission_of(**settings).close()


def test_a_database_alone_says_where_the_client_is_and_without_any_source_nobody_asks(tmp_path):
    file = tmp_path / "city.mmdb"
    write_geo_file(file, "198.51.100.0/24", {"country": {"iso_code": "NZ"}})
    admission = admission_of(geo_database=file)
    assert admission.sender(request(VISITOR)).place == Place("NZ")
    admission.close()
    assert open_geo(Settings(_env_file=None)) is None


def test_each_part_of_a_place_has_a_header_of_its_own():
    names = {"geo_country_header": "X-Country", "geo_region_header": "X-Region", "geo_city_header": "X-City"}
    asked = request(PROXY, X_Country="at", X_Region=" Tirol ", X_City="Innsbruck")
    assert admission_of(**names).sender(asked).place == Place("AT", "Tirol", "Innsbruck")


def test_a_service_is_nobodys_place(keys_file):
    admission = admission_of(keys_file, **GEO_HEADERS)
    assert admission.sender(request(PROXY, X_Write_Key=SERVICE_KEY, **SAID)).place == NOWHERE
    assert admission.sender(request(PROXY, X_Write_Key=WRITE_KEY, **SAID)).place == Place("AT", "", "Wien")


# Origins


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://a.shop.example", True),
        ("https://one.example", True),
        ("https://a.shopXexample", False),  # a dot of the pattern is a dot
        ("https://a.shop-example", False),
        ("https://oneXexample", False),
        ("https://shop.example.evil.test", False),
        ("https://a.shop.example.evil.test", False),
        ("http://a.shop.example", False),
        ("https://a.shop.example:444", False),
        ("null", False),
    ],
)
def test_a_page_of_a_look_alike_domain_gets_nothing(keys_file, origin, may):
    admission = admission_of(keys_file)
    asked = request(Origin=origin, X_Write_Key=WRITE_KEY)
    if may:
        sender = admission.sender(asked)
        assert ("Access-Control-Allow-Origin", origin) in sender.cors_headers
        assert ("Access-Control-Allow-Credentials", "true") in sender.cors_headers
        assert ("Vary", "Origin") in sender.cors_headers, "a cache must not give one page the answer to another"
        assert admission.cors_headers(asked) == sender.cors_headers
        assert admission.preflight(asked).status == 204
    else:
        with pytest.raises(RequestError) as refused:
            admission.sender(asked)
        assert refused.value.code == "forbidden"
        assert "Access-Control-Allow-Credentials" not in dict(admission.cors_headers(asked))
        with pytest.raises(RequestError):
            admission.preflight(request(Origin=origin))


def test_a_page_of_the_collector_itself_needs_no_leave_and_is_no_other_origin(keys_file):
    """The browser lets it read the response anyway."""
    admission = admission_of(keys_file)
    for key in (SERVICE_KEY, WRITE_KEY):
        own = request(Origin="https://collect.example:8443", Host="collect.example:8443", X_Write_Key=key)
        sender = admission.sender(own)
        assert (sender.keeps_cookie, sender.cors_headers, admission.cors_headers(own)) == (True, (), ())
        look_alike = request(
            Origin="https://collect.example:8443.evil.test", Host="collect.example:8443", X_Write_Key=key
        )
        with pytest.raises(RequestError, match="may not be used from this page"):
            admission.sender(look_alike)
        assert ("Access-Control-Allow-Origin", "*") in admission.cors_headers(look_alike)
    assert admission.preflight(request(Origin="https://collect.example", Host="collect.example")).status == 204


def test_a_page_that_one_key_lets_in_gets_nothing_of_another_keys_responses(tmp_path):
    path = tmp_path / "keys.json"
    keys = [
        {"name": name, "key": key, "workspace_id": "w1", "origins": [f"https://{name}.example"]}
        for name, key in (("one", WRITE_KEY), ("two", SERVICE_KEY))
    ]
    path.write_bytes(orjson.dumps({"write_keys": keys}))
    admission = admission_of(path)
    for key, origin, may in ((WRITE_KEY, "one", True), (SERVICE_KEY, "one", False), (SERVICE_KEY, "two", True)):
        headers = admission.cors_headers(request(Origin=f"https://{origin}.example", X_Write_Key=key))
        assert (("Access-Control-Allow-Credentials", "true") in headers) == may


def test_a_collector_without_keys_asks_nobody_for_one():
    admission = admission_of()
    asked = request(Origin="https://any.example", X_Write_Key=WRITE_KEY)
    assert admission.sender(asked).key is None
    assert ("Access-Control-Allow-Origin", "*") in admission.cors_headers(asked)


def test_a_service_needs_no_origin_and_a_page_may_not_use_its_key(keys_file):
    admission = admission_of(keys_file)
    assert admission.sender(request(X_Write_Key=SERVICE_KEY)).cors_headers == ()
    with pytest.raises(RequestError, match="may not be used from this page"):
        admission.sender(request(Origin="https://a.shop.example", X_Write_Key=SERVICE_KEY))


# Keys


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(), "unauthorized"),
        (request(X_Write_Key="unknown-key-unknown"), "unauthorized"),
        (request(X_Write_Key=READ_KEY), "forbidden"),
    ],
)
def test_only_a_write_key_writes(keys_file, asked, code):
    with pytest.raises(RequestError) as refused:
        admission_of(keys_file).sender(asked)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(), "unauthorized"),
        (request(Authorization="Bearer unknown-key-unknown"), "unauthorized"),
        (request(Authorization=f"Bearer {WRITE_KEY}"), "forbidden"),
        (request(query=f"key={READ_KEY}"), "unauthorized"),  # addresses end up in logs
    ],
)
def test_only_a_read_key_in_a_header_reads(keys_file, asked, code):
    admission = admission_of(keys_file)
    assert admission.reader(request(Authorization=f"Bearer {READ_KEY}")).workspace_id == "w1"
    with pytest.raises(RequestError) as refused:
        admission.reader(asked)
    assert refused.value.code == code


def test_without_keys_everybody_may_write_and_read(keys_file):
    admission = admission_of()
    assert (admission.sender(request()).key, admission.reader(request())) == (None, None)


@pytest.mark.parametrize(
    "asked",
    [
        request(X_Write_Key=WRITE_KEY),
        request(Authorization=f"bearer {WRITE_KEY} "),
        request(query=f"a=b&key={WRITE_KEY}&key=other"),
    ],
)
def test_a_key_is_presented_in_a_header_or_in_the_query(keys_file, asked):
    sender = admission_of(keys_file).sender(asked)
    assert (sender.key.name, sender.is_visitor) == ("shop", True)


# Too much


def test_who_sends_too_much_is_told_when_to_come_back_and_others_are_not():
    admission = admission_of(collect_open=True, collect_ip_requests_per_second=0.5, collect_burst_seconds=4)
    for _ in range(2):
        admission.sender(request(VISITOR))
    with pytest.raises(RequestError) as refused:
        admission.sender(request(VISITOR))
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after_seconds == 2
    admission.sender(request(STRANGER))


def test_each_refusal_is_counted_by_its_limit():
    metrics = CollectMetrics()
    settings = Settings(_env_file=None, collect_open=True, collect_ip_requests_per_second=0.5, collect_burst_seconds=2)
    admission = Admission(settings, None, metrics.access)
    for _ in range(3):
        with suppress(RequestError):
            admission.sender(request(VISITOR))
    assert b'tracker_collect_rate_limited_total{limit="address_requests"} 2.0' in metrics.exposition()


def test_what_is_remembered_of_strangers_has_a_limit(keys_file):
    admission = admission_of(keys_file)
    caches = (admission.proxies.trusts, admission.proxies._client, admission._pages._cached)
    assert [cache.cache_info().maxsize for cache in caches] == [8_192] * 3


def test_behind_a_proxy_each_client_has_a_limit_of_its_own():
    admission = admission_of(collect_open=True, collect_ip_requests_per_second=0.5, collect_burst_seconds=2)
    admission.sender(request(PROXY, X_Forwarded_For=VISITOR))
    admission.sender(request(PROXY, X_Forwarded_For=STRANGER))
    with pytest.raises(RequestError):
        admission.sender(request(VISITOR))
