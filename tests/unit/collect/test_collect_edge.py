"""Who a request comes from and how much they may send, decided before its body is looked at."""

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.admission import MAX_QUERY_FIELDS, Edge
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.collect.metrics import CollectMetrics
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


def allowed(edge: Edge, call, limit: int = 1_000) -> int:
    """How often in a row a call is let through."""
    for number in range(limit):
        try:
            call(edge)
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
    edge = Edge(settings, CollectMetrics())
    assert edge.keys is not None
    own_rate = edge.keys.ring.write_key(KEY)
    assert allowed(edge, lambda edge: edge.admit(request())) == 40 // share
    assert allowed(edge, lambda edge: edge.charge(None, 1)) == 80 // share
    assert allowed(edge, lambda edge: edge.charge(own_rate, 1)) == 800 // share


def test_a_query_that_can_not_be_read_leaves_the_answer_that_says_so_readable(keys_file):
    edge = Edge(Settings(_env_file=None, keys_file=keys_file), CollectMetrics())
    unreadable = request("&".join(["a=1"] * (MAX_QUERY_FIELDS + 1)), Origin="https://shop.example")
    with pytest.raises(RequestError, match="query"):
        edge.sender(unreadable)
    assert ("Access-Control-Allow-Origin", "*") in edge.cors_headers(unreadable)
