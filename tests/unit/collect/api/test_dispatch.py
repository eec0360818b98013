"""Each request gets one response, counted under its address's pattern: its endpoint's, or an error that says why."""

import asyncio
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tests.unit.collect.api.collector import (
    AS_SERVICE,
    PIXEL,
    SERVICE,
    SESSION,
    TRACK,
    code_of,
    header,
    running_collector,
    write_keys,
)
from tracker import clock
from tracker.collect.access.admission import Admission
from tracker.collect.api import dispatch
from tracker.collect.api.dispatch import Dispatcher
from tracker.collect.api.routes import Route, Routes
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics
from tracker.collect.quotas.quotas import day_of
from tracker.settings import Settings

SHOP = "https://shop.example"
CLICK = {"event_type": "click", "session_id": "s1", "event_id": "e1"}


def request(method: str = "POST", path: str = "/api/work", **headers: str) -> Request:
    return Request(method, path, "", CIMultiDictProxy(CIMultiDict(headers)), b"", "198.51.100.1")


class Setup:
    """A dispatcher whose only endpoint does what a test says."""

    def __init__(self, endpoint: Any) -> None:
        self.metrics = CollectMetrics()
        admission = Admission(Settings(_env_file=None), None, self.metrics.access)
        route = Route("/api/work", {"POST": endpoint})
        self.handle = Dispatcher(Routes((route,), {}, {}), admission, self.metrics).handle

    def counted(self, status: int) -> float:
        labels = {"endpoint": "/api/work", "status": str(status)}
        return self.metrics.registry.get_sample_value("tracker_collect_requests_total", labels) or 0.0


def raising(error: Exception) -> Any:
    def endpoint(*_: object) -> Any:
        raise error

    return endpoint


@pytest.mark.parametrize("is_later", [False, True])
async def test_an_error_that_nobody_has_foreseen_is_ours_and_tells_nothing(is_later):
    failing = raising(KeyError("a secret"))
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    setup = Setup(lambda _: Reply(done, failing) if is_later else failing())
    response = await setup.handle(request(Origin=SHOP)).response()
    assert (response.status, code_of(response)) == (500, "internal")
    assert b"secret" not in response.body
    assert header(response, "Access-Control-Allow-Origin") == "*"
    assert setup.counted(500) == 1


@pytest.mark.parametrize("is_later", [False, True])
async def test_a_page_may_read_why_it_was_refused(is_later):
    refusing = raising(RequestError("spill_full", "no room", retry_after_seconds=7))
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    setup = Setup(lambda _: Reply(done, refusing, (("A", "b"),)) if is_later else refusing())
    response = await setup.handle(request(Origin=SHOP)).response()
    assert (response.status, header(response, "Retry-After")) == (503, "7")
    assert (header(response, "A") == "b") if is_later else (header(response, "Access-Control-Allow-Origin") == "*")
    assert setup.counted(503) == 1


async def test_requests_beyond_the_limit_are_refused_until_one_has_been_answered(monkeypatch):
    monkeypatch.setattr(dispatch, "MAX_INFLIGHT_REQUESTS", 2)
    done = asyncio.get_running_loop().create_future()
    setup = Setup(lambda _: Reply(done, lambda: Response(202)))
    waiting = [setup.handle(request()) for _ in range(2)]
    refused = await setup.handle(request()).response()
    assert (refused.status, code_of(refused)) == (503, "overloaded")
    done.set_result(None)
    assert [(await reply.response()).status for reply in waiting] == [202, 202]
    assert (await setup.handle(request()).response()).status == 202


@pytest.mark.parametrize(
    ("method", "address", "status", "pattern"),
    [
        ("GET", "/nothing", 404, "unknown"),
        ("POST", "/api/v1/nothing", 404, "unknown"),
        ("OPTIONS", "/api/v1/nothing", 404, "unknown"),
        ("GET", TRACK, 405, TRACK),
        ("DELETE", TRACK, 405, TRACK),
        ("POST", PIXEL, 405, PIXEL),
        ("GET", f"{SESSION}/s1/flush", 405, f"{SESSION}/{{id}}/flush"),
        ("POST", f"{SESSION}/s1", 405, f"{SESSION}/{{id}}"),
        ("POST", "/healthz", 405, "/healthz"),
        ("GET", "/healthz", 200, "/healthz"),
        ("HEAD", "/healthz", 200, "/healthz"),
        ("GET", "/tracker.js", 200, "/tracker.js"),
        ("GET", "/demo", 200, "/demo"),
    ],
)
async def test_an_address_takes_its_methods_only_and_is_counted_by_its_pattern(
    tmp_path, method, address, status, pattern
):
    async with running_collector(tmp_path) as running:
        response = await running.ask(method, address)
    assert response.status == status
    assert (header(response, "Allow") is not None) == (status == 405)
    assert running.metric("tracker_collect_requests_total", endpoint=pattern, status=str(status)) == 1


async def test_a_wrong_method_is_told_the_right_ones(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("PUT", f"{SESSION}/s1")
    assert header(response, "Allow") == "GET, DELETE"


async def test_a_browser_that_asks_before_it_posts_may_post(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("OPTIONS", TRACK, Origin=SHOP, Access_Control_Request_Method="POST")
    assert response.status == 204
    assert "POST" in (header(response, "Access-Control-Allow-Methods") or "")
    assert header(response, "Access-Control-Allow-Origin") == "*"


async def test_a_page_may_read_the_answer_to_its_event(tmp_path):
    async with running_collector(tmp_path) as running:
        of_page = await running.ask("POST", TRACK, CLICK, Origin=SHOP)
        of_service = await running.ask("POST", TRACK, CLICK)
    assert header(of_page, "Access-Control-Allow-Origin") == "*"
    assert header(of_service, "Access-Control-Allow-Origin") is None


async def test_probes_are_answered_to_those_who_have_used_up_their_rate(tmp_path):
    few = {"collect_open": True, "collect_ip_requests_per_second": 1 / 600, "collect_burst_seconds": 600}
    async with running_collector(tmp_path, **few) as running:
        statuses = [(await running.ask("GET", "/demo")).status for _ in range(2)]
        probes = [(await running.ask("GET", path)).status for path in ("/healthz", "/readyz")]
        unknown = await running.ask("GET", "/nothing")
    assert statuses == [200, 429]
    assert probes == [200, 200]
    assert unknown.status == 429


async def test_a_collector_is_ready_when_its_tasks_run_and_kafka_answers(tmp_path):
    async with running_collector(tmp_path) as running:
        ready = await running.ask("GET", "/readyz", peer="127.0.0.1", Host="localhost")
    assert ready.status == 200
    assert orjson.loads(ready.body)["kafka"] == "ok"


async def test_a_quota_that_is_nearly_used_up_is_told_to_services(tmp_path):
    path = write_keys(tmp_path, write_keys=[SERVICE], quotas=[{"events_per_day": 100}])
    async with running_collector(tmp_path, keys_file=path, usage_counted=True) as running:
        today = day_of(clock.now_ms())
        running.collector._quotas.note({"w1": 95}, today)
        warned = await running.ask("POST", TRACK, CLICK, **AS_SERVICE)
        running.collector._quotas.note({"w1": 100}, today)
        refused = await running.ask("POST", TRACK, CLICK, **AS_SERVICE)
        closing = await running.ask("DELETE", f"{SESSION}/s1", **AS_SERVICE)
    assert (warned.status, header(warned, "X-Quota-Used")) == (202, "95")
    assert (refused.status, code_of(refused)) == (429, "quota_exceeded")
    assert closing.status == 202
