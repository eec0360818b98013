"""The collector over HTTP, on a real Kafka: what is accepted is in the topic, what is not is told why."""

import asyncio
import contextlib
import gzip
from collections import Counter
from http.cookies import SimpleCookie

import aiohttp
import orjson
from yarl import URL

from tests.integration.collect.collector_process import CollectorProcess
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from topics.catalog import SOURCE
from topics.codec import decode_source
from tracker.kafka.clients import partition_for_key

TRACK = "/api/v1/events/track"
SESSION = "/api/v1/events/session"
CLICK = {"event_type": "click", "session_id": "s1", "event_id": "e1"}


async def post(collector: CollectorProcess, path: str, body: object = None, **options):
    data = options.pop("data", orjson.dumps(body))
    headers = {"Content-Type": "application/json", **options.pop("headers", {})}
    async with collector.http.post(path, data=data, headers=headers, **options) as answer:
        return answer.status, await answer.json(), answer.headers


def cookie_of(headers) -> SimpleCookie:
    return SimpleCookie(headers["Set-Cookie"])


async def test_202_means_that_the_record_is_in_the_topic_under_its_sessions_key(collector):
    status, body, headers = await post(collector, TRACK, CLICK)
    assert (status, body) == (202, {"session_id": "s1", "event_id": "e1"})
    assert "Set-Cookie" not in headers
    [record] = await read_all(collector.settings, SOURCE)
    assert record.key == b"s1"
    assert record.partition == partition_for_key(b"s1", collector.settings.partitions)
    assert decode_source(record.key, record.value)["data"] == {"event_type": "click", "event_id": "e1"}


async def test_events_of_a_session_stand_in_the_order_in_which_they_were_accepted(collector):
    for number in range(50):
        status, _, _ = await post(collector, TRACK, {**CLICK, "event_id": f"e{number}"})
        assert status == 202
    ids = [orjson.loads(record.value)["data"]["event_id"] for record in await read_all(collector.settings, SOURCE)]
    assert ids == [f"e{number}" for number in range(50)]


async def test_each_of_many_concurrent_events_is_in_the_topic_once(collector):
    bodies = [
        {"event_type": "click", "session_id": f"s{number % 40}", "event_id": f"e{number}"} for number in range(2_000)
    ]
    answers = await asyncio.gather(*(post(collector, TRACK, body) for body in bodies))
    assert Counter(status for status, _, _ in answers) == {202: 2_000}
    found = Counter(
        orjson.loads(record.value)["data"]["event_id"] for record in await read_all(collector.settings, SOURCE)
    )
    assert found == Counter(body["event_id"] for body in bodies)


async def test_a_batch_is_taken_in_order_and_shares_a_minted_session(collector):
    events = [{"event_type": "click", "event_id": f"e{number}"} for number in range(20)]
    status, body, headers = await post(collector, TRACK, {"batch": events})
    minted = cookie_of(headers)["tracker_session"].value
    assert status == 202
    assert body["results"] == [
        {"index": index, "status": "accepted", "session_id": minted, "event_id": event["event_id"]}
        for index, event in enumerate(events)
    ]
    records = await read_all(collector.settings, SOURCE)
    assert [orjson.loads(record.value)["data"]["event_id"] for record in records] == [
        event["event_id"] for event in events
    ]


async def test_a_session_is_minted_kept_in_a_cookie_and_refreshed(collector):
    status, body, headers = await post(collector, SESSION, {"user_id": "u1"})
    assert status == 202
    minted = cookie_of(headers)["tracker_session"]
    assert minted.value == body["session_id"]
    assert (minted["httponly"], minted["samesite"], minted["path"]) == (True, "Lax", "/")
    assert minted["max-age"] == str(collector.settings.session_timeout_seconds)

    status, again, headers = await post(
        collector, TRACK, {"event_type": "click"}, headers={"Cookie": f"tracker_session={minted.value}"}
    )
    assert (status, again["session_id"]) == (202, minted.value)
    assert cookie_of(headers)["tracker_session"].value == minted.value
    types = [orjson.loads(record.value)["type"] for record in await read_all(collector.settings, SOURCE)]
    assert types == ["session", "event"]


async def test_a_session_can_be_closed_and_flushed_in_the_log(collector):
    for method, path in (("DELETE", f"{SESSION}/s%C3%A9%2F1"), ("POST", f"{SESSION}/s%C3%A9%2F1/flush")):
        async with collector.http.request(method, URL(collector.url + path, encoded=True)) as answer:
            assert (answer.status, await answer.json()) == (202, {"session_id": "sé/1"}), method
    records = await read_all(collector.settings, SOURCE)
    assert [decode_source(record.key, record.value)["type"] for record in records] == ["expire", "flush"]


async def test_a_cookie_that_makes_no_sense_is_as_good_as_none(collector):
    for cookie in (
        'tracker_session="a b"',
        "tracker_session=a\xff",
        "tracker_session=",
        "tracker_session=null",
        ";;=;",
        "x" * 4_000,
    ):
        status, body, headers = await post(collector, TRACK, {"event_type": "click"}, headers={"Cookie": cookie})
        assert status == 202, cookie
        assert cookie_of(headers)["tracker_session"].value == body["session_id"], cookie
        assert len(body["session_id"]) == 36, cookie


BAD = [
    ("not JSON", b"{", {}, 400, "not_json"),
    ("empty", b"", {}, 400, "not_json"),
    ("not UTF-8", b'{"event_type":"\xff"}', {}, 400, "not_json"),
    ("no object", b"[1]", {}, 400, "invalid"),
    ("unknown event type", b'{"event_type":"hover"}', {}, 400, "invalid"),
    ("unknown field", b'{"event_type":"click","x":1}', {}, 400, "invalid"),
    ("wrong type", b'{"event_type":"click","scroll_percentage":"a lot"}', {}, 400, "invalid"),
    ("bad session id", b'{"event_type":"click","session_id":"a\\u0000b"}', {}, 400, "invalid"),
    ("lone surrogate", b'{"event_type":"click","session_id":"\\ud800"}', {}, 400, "not_json"),
    ("an empty batch", b'{"batch":[]}', {}, 400, "invalid"),
    ("a batch that is none", b'{"batch":{}}', {}, 400, "invalid"),
    ("a batch of nonsense", b'{"batch":[1]}', {}, 400, "invalid"),
    ("a batch beside an event", b'{"batch":[{"event_type":"click"}],"event_type":"click"}', {}, 400, "invalid"),
    ("a batch without a good event", b'{"batch":[{"event_type":"hover"},{}]}', {}, 400, "invalid"),
    ("too large a batch", b'{"batch":[' + b"1," * 500 + b"1]}", {}, 413, "oversized"),
    ("nested deeply", b'{"metadata":' + b"[" * 99 + b"]" * 99 + b"}", {}, 400, "invalid"),
    ("not gzip", b"nonsense", {"Content-Encoding": "gzip"}, 400, "bad_request"),
    ("a form", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ("too large", b" " * 300_000, {}, 413, "oversized"),
    ("large once unpacked", gzip.compress(b" " * 300_000), {"Content-Encoding": "gzip"}, 413, "oversized"),
    (
        "too large a record",
        orjson.dumps({"event_type": "click", "metadata": "\u0001" * 16_000}),
        {},
        413,
        "oversized",
    ),
]


async def test_bad_input_gets_a_clear_answer_and_does_no_harm(collector):
    for name, data, headers, status, code in BAD:
        answered, body, _ = await post(collector, TRACK, data=data, headers=headers)
        assert (answered, body["error"]["code"]) == (status, code), name
        assert body["error"]["message"], name
        assert (await post(collector, TRACK, CLICK))[0] == 202, name
    assert len(await read_all(collector.settings, SOURCE)) == len(BAD)


async def test_a_body_that_grows_beyond_the_limit_is_refused_while_it_comes(collector):
    async def endless():
        while True:
            yield b" " * 65_536

    async with asyncio.timeout(PATIENCE_SECONDS):
        with contextlib.suppress(aiohttp.ClientError):  # it may see the connection close before it has read the answer
            assert (await post(collector, TRACK, data=endless()))[0] == 413
    await collector.until_figures('status="413"} 1.0')
    assert (await post(collector, TRACK, CLICK))[0] == 202


async def test_a_body_announced_as_too_large_is_refused_unread(collector):
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.settings.collect_port)
    writer.write(b"POST /api/v1/events/track HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_what_is_not_http_does_no_harm(collector):
    for garbage in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02"):
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.settings.collect_port)
        writer.write(garbage)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reader.read()
        writer.close()
        assert (await post(collector, TRACK, CLICK))[0] == 202, garbage


async def test_other_errors_have_the_same_form(collector):
    for path, status, code in (
        ("/nowhere", 404, "not_found"),
        (TRACK, 405, "method_not_allowed"),
        (f"{SESSION}/%ff", 400, "bad_session_id"),
        (f"{SESSION}/a%20b", 400, "bad_session_id"),
        (f"{SESSION}/s1", 503, "processor_unavailable"),
    ):
        async with collector.http.get(URL(collector.url + path, encoded=True)) as answer:
            assert answer.status == status, path
            assert (await answer.json())["error"]["code"] == code, path
            assert ("Retry-After" in answer.headers) == (status == 503), path


async def test_a_bad_event_of_a_batch_costs_its_neighbours_nothing(collector):
    batch = [CLICK, {"event_type": "hover"}, {"event_type": "scroll", "event_id": "e3"}]
    status, body, _ = await post(collector, TRACK, {"batch": batch, "sent_at": "2026-11-24T03:43:00.123Z"})
    assert status == 202
    assert [result["status"] for result in body["results"]] == ["accepted", "rejected", "accepted"]
    assert body["results"][1]["reasons"][0].startswith("event_type: ")
    status, body, _ = await post(collector, TRACK, {"batch": batch[1:2]})
    assert (status, body["error"]["code"], body["results"][0]["status"]) == (400, "invalid", "rejected")
    found = [orjson.loads(record.value)["data"]["event_id"] for record in await read_all(collector.settings, SOURCE)]
    assert sorted(found) == ["e1", "e3"]


async def test_metrics_count_requests_by_endpoint_and_acked_records(collector):
    await post(collector, TRACK, CLICK)
    await post(collector, TRACK, {})
    text = await collector.until_figures()
    assert f'tracker_collect_requests_total{{endpoint="{TRACK}",status="202"}} 1.0' in text
    assert f'tracker_collect_requests_total{{endpoint="{TRACK}",status="400"}} 1.0' in text
    assert "tracker_collect_records_acked_total 1.0" in text
    assert "tracker_collect_records_unsettled 0.0" in text
    async with collector.http.get("/metrics") as answer:  # the port for events is the world's
        assert answer.status == 404


async def test_what_it_writes_to_disk_is_for_its_own_user_only(collector):
    found = [path for path in collector.settings.data_dir.rglob("*") if path != collector.log_file]
    assert collector.settings.data_dir / "collect" in found
    assert [str(path) for path in found if path.stat().st_mode & 0o077] == []


async def test_the_script_and_the_demo_are_served(collector):
    for path, content_type in (("/tracker.js", "text/javascript"), ("/demo", "text/html")):
        async with collector.http.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, content_type)
            assert len(await answer.read()) > 1_000
