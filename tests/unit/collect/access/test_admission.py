"""Who a request comes from and how much they may send, decided before its body is looked at."""

import contextlib
import functools
import gc

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.admission import Admission
from tracker.collect.access.keys import read_keys
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.settings import Settings

KEY = "write-key-of-w1-0123"


def request(query: str = "", **headers: str) -> Request:
    return Request("POST", "/", query, CIMultiDictProxy(CIMultiDict(headers)), b"", "198.51.100.1")


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.json"
    write_key = {"name": "k", "key": KEY, "workspace_id": "w1", "events_per_second": 8}
    path.write_bytes(orjson.dumps({"write_keys": [write_key]}))
    return path


def allowed(admission: Admission, call, limit: int = 1_000) -> int:
    """How often in a row a call is let through."""
    for number in range(limit):
        try:
            call(admission)
        except RequestError as error:
            if error.code != "rate_limited":
                raise
            return number
    return limit


@pytest.mark.parametrize(("processes", "share"), [(0, 1), (1, 1), (4, 4)])
def test_all_processes_of_a_port_together_allow_what_is_configured(keys_file, processes: int, share: int):
    settings = Settings(
        _env_file=None,
        keys_file=keys_file,
        collect_processes=processes,
        collect_ip_requests_per_second=0.4,
        collect_key_events_per_second=0.8,
        collect_burst_seconds=100,
    )
    admission = Admission(settings, read_keys(keys_file))
    own_rate = admission.keys.write_key(KEY)
    assert allowed(admission, lambda admission: admission.admit(request())) == 40 // share
    assert allowed(admission, lambda admission: admission.charge(None, 1)) == 80 // share
    assert allowed(admission, lambda admission: admission.charge(own_rate, 1)) == 800 // share


def test_no_key_is_kept_in_clear(keys_file):
    """A memory dump of the collector shows no key that a client has presented, right or wrong."""
    admission = Admission(Settings(_env_file=None, keys_file=keys_file), read_keys(keys_file))
    wrong = "a-read-key-in-the-wrong-place"
    for presented in (KEY, wrong):
        for query, headers in ((f"key={presented}", {}), ("", {"X-Write-Key": presented})):
            asked = request(query, Origin="https://shop.example", **headers)
            admission.cors_headers(asked)
            with contextlib.suppress(RequestError):
                admission.sender(asked)
    asked = None
    gc.collect()
    caches = [each for each in gc.get_objects() if isinstance(each, functools._lru_cache_wrapper)]
    held = [str(gc.get_referents(cache)) for cache in caches]
    assert held
    assert not any(KEY in text or wrong in text for text in held)


@pytest.mark.parametrize(
    ("scope", "cookie", "query", "owns"),
    [
        ("public", "s1", "", True),
        ("public", "s2", "", False),
        ("public", None, "", False),
        ("public", None, "session=s1", False),
        ("secret", None, "", True),
    ],
    ids=["with its cookie", "with another cookie", "without", "proposed by the address", "a service"],
)
def test_a_public_key_owns_the_session_of_its_cookie_and_a_secret_key_all(tmp_path, scope, cookie, query, owns):
    path = tmp_path / "keys.json"
    path.write_bytes(orjson.dumps({"write_keys": [{"name": "k", "key": KEY, "workspace_id": "w1", "scope": scope}]}))
    settings = Settings(_env_file=None, keys_file=path)
    headers = {"X-Write-Key": KEY} | ({"Cookie": f"{settings.cookie_name}={cookie}"} if cookie else {})
    sender = Admission(settings, read_keys(path)).sender(request(query, **headers))
    assert sender.owns("s1") == owns


def test_without_keys_everybody_owns_every_session():
    assert Admission(Settings(_env_file=None), None).sender(request()).owns("s1")
