"""Events over the API: what becomes a record, and what its sender is told."""

import base64
import gzip

import orjson
import pytest

from tests.unit.collect.api.collector import AS_SERVICE, PIXEL, SERVICE, TRACK, header, running_collector, write_keys

CLICK = {"event_type": "click", "session_id": "s1", "event_id": "e1"}
PAGE = {"Origin": "https://shop.example", "Host": "shop.example"}
COOKIE = "tracker_session=01a20bc4-6db1-7727-96d7-27d374d76c47"


def pixel_of(event: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(event)).decode().rstrip("=")


async def test_an_event_is_accepted_with_its_ids_and_is_in_kafka_under_its_session(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("POST", TRACK, CLICK)
    assert (response.status, orjson.loads(response.body)) == (202, {"session_id": "s1", "event_id": "e1"})
    [(key, record)] = running.records
    assert key == b"s1"
    assert (record["type"], record["data"]["event_type"]) == ("event", "click")


async def test_an_event_of_an_unusual_form_is_accepted_as_well(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("POST", TRACK, {**CLICK, "sent_at": "2026-11-29T00:00:00Z", "metadata": {"a": 1}})
    assert (response.status, orjson.loads(response.body)) == (202, {"session_id": "s1", "event_id": "e1"})
    [(_, record)] = running.records
    assert orjson.loads(record["data"]["metadata"]) == {"a": 1}


async def test_a_batch_gets_a_verdict_for_each_event_and_the_valid_ones_are_in_kafka(tmp_path):
    batch = {"batch": [CLICK, {"event_type": 7}, {**CLICK, "event_id": "e2"}]}
    async with running_collector(tmp_path) as running:
        response = await running.ask("POST", TRACK, batch)
    assert response.status == 202
    first, second, third = orjson.loads(response.body)["results"]
    assert first == {"index": 0, "status": "accepted", "session_id": "s1", "event_id": "e1"}
    assert (second["index"], second["status"]) == (1, "rejected")
    assert "event_type" in second["reasons"][0]
    assert third == {"index": 2, "status": "accepted", "session_id": "s1", "event_id": "e2"}
    assert [record["data"]["event_id"] for _, record in running.records] == ["e1", "e2"]
    assert running.metric("tracker_collect_events_rejected_total") == 1


async def test_a_batch_without_a_valid_event_is_refused_with_all_verdicts(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("POST", TRACK, {"batch": [{"event_type": 7}, {}]})
    body = orjson.loads(response.body)
    assert (response.status, body["error"]["code"]) == (400, "invalid")
    assert [(each["index"], each["status"]) for each in body["results"]] == [(0, "rejected"), (1, "rejected")]
    assert running.records == []
    assert running.metric("tracker_collect_events_rejected_total") == 2


async def test_a_batch_without_session_ids_is_one_session_which_the_cookie_keeps(tmp_path):
    batch = {"batch": [CLICK, {"event_type": "click"}, {"event_type": "scroll"}]}
    async with running_collector(tmp_path, session_timeout_seconds=1_234) as running:
        response = await running.ask("POST", TRACK, batch, **PAGE)
    named, *minted = (each["session_id"] for each in orjson.loads(response.body)["results"])
    assert named == "s1"
    assert minted[0] == minted[1] != "s1"
    cookie = header(response, "Set-Cookie")
    assert cookie is not None
    assert cookie.startswith(f"tracker_session={minted[0]};")
    assert "Max-Age=1234" in cookie


async def test_an_event_prolongs_the_cookie_of_its_session_unless_its_body_names_one(tmp_path):
    async with running_collector(tmp_path) as running:
        in_cookie = await running.ask("POST", TRACK, {"event_type": "click"}, Cookie=COOKIE, **PAGE)
        in_body = await running.ask("POST", TRACK, CLICK, Cookie=COOKIE, **PAGE)
    assert (header(in_cookie, "Set-Cookie") or "").startswith(COOKIE)
    assert header(in_body, "Set-Cookie") is None
    assert {key for key, _ in running.records} == {COOKIE.partition("=")[2].encode(), b"s1"}


async def test_no_cookie_is_set_where_the_settings_keep_cookies_from_being_written(tmp_path):
    async with running_collector(tmp_path, cookie_write=False) as running:
        response = await running.ask("POST", TRACK, {"event_type": "click"}, **PAGE)
    assert response.status == 202
    assert header(response, "Set-Cookie") is None


async def test_the_pixel_takes_an_event_in_its_address_and_is_an_image(tmp_path):
    async with running_collector(tmp_path) as running:
        taken = await running.ask("GET", f"{PIXEL}?d={pixel_of(CLICK)}")
        refused = await running.ask("GET", f"{PIXEL}?d={pixel_of({'event_type': 7})}")
    assert [(each.status, each.content_type) for each in (taken, refused)] == [(200, "image/gif"), (400, "image/gif")]
    assert taken.body == refused.body
    assert header(taken, "Cache-Control") == "no-store"
    assert [key for key, _ in running.records] == [b"s1"]


@pytest.mark.parametrize(("body", "results"), [(CLICK, 0), ({"batch": [CLICK, CLICK]}, 2)])
async def test_events_of_visitors_who_object_are_dropped_and_counted(tmp_path, body, results):
    async with running_collector(tmp_path, gpc_policy="drop") as running:
        response = await running.ask("POST", TRACK, body, Sec_GPC="1")
    answer = orjson.loads(response.body)
    dropped = answer["results"] if results else [answer]
    assert response.status == 202
    assert [each.get("index") for each in dropped] == (list(range(results)) if results else [None])
    assert {each["status"] for each in dropped} == {"dropped"}
    assert all("gpc" in each["reasons"][0] for each in dropped)
    assert running.records == []
    assert running.metric("tracker_collect_events_dropped_total", signal="gpc") == max(1, results)


async def test_a_service_that_is_no_visitor_is_not_described(tmp_path):
    path = write_keys(tmp_path, write_keys=[{**SERVICE, "enrich": False}])
    async with running_collector(tmp_path, keys_file=path) as running:
        response = await running.ask("POST", TRACK, CLICK, **AS_SERVICE, User_Agent="curl/8")
    [(_, record)] = running.records
    assert response.status == 202
    assert record["workspace_id"] == "w1"
    assert not {"visitor", "project_id"} & {*record, *record["data"]}


async def test_a_visitors_record_tells_browser_and_address_and_an_anonymous_ones_less(tmp_path):
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    headers = {"User_Agent": agent, "Accept_Language": "de-CH"}
    async with running_collector(tmp_path, ip_policy="keep") as running:
        await running.ask("POST", TRACK, CLICK, **headers)
        await running.ask("POST", TRACK, CLICK, DNT="1", **headers)
    open_, anonymous = (record["visitor"] for _, record in running.records)
    assert (open_["user_agent"], open_["ip"], open_["language"]) == (agent, "198.51.100.1", "de-CH")
    assert "ip" not in anonymous
    assert "user_agent" not in anonymous
    assert anonymous["browser"] == open_["browser"] == "Firefox"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content_Type": "image/png"}, b"{}", 415),
        ({}, b"{", 400),
        ({"Content_Encoding": "gzip"}, b"not packed", 400),
        ({"Content_Encoding": "gzip"}, gzip.compress(b" " * 2_000_000), 413),
        ({}, orjson.dumps({"event_type": 7}), 400),
    ],
)
async def test_a_body_that_can_not_be_read_is_refused_and_counted_against_its_sender(tmp_path, headers, body, status):
    async with running_collector(
        tmp_path, collect_open=True, collect_ip_invalid_per_second=1 / 600, collect_burst_seconds=600
    ) as running:
        first = await running.ask("POST", TRACK, body, **headers)
        await running.ask("POST", TRACK, body, **headers)
        limited = await running.ask("POST", TRACK, CLICK)
    assert (first.status, limited.status) == (status, 429)


async def test_events_are_refused_while_kafka_is_away_and_the_disk_may_take_none(tmp_path):
    async with running_collector(tmp_path, spill_max_bytes=0, collect_ack_timeout_ms=100) as running:
        running.kafka.is_silent = True
        response = await running.ask("POST", TRACK, CLICK)
        running.kafka.wake()
    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (503, "kafka_unavailable")
    assert header(response, "Retry-After") is not None
    assert header(response, "Set-Cookie") is None
