"""What browsers send without a preflight, what they may read, which cookies they get, what becomes of objections."""

import asyncio
import gzip
import re
from base64 import urlsafe_b64encode
from http.cookies import SimpleCookie

import orjson

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from topics.catalog import SOURCE
from topics.codec import decode_source
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
SESSION = "/api/v1/events/session"
PIXEL = "/api/v1/events/pixel.gif"
PAGE = "http://localhost:3000"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


HEADS = {
    "line": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
    "header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9_000 + b"\r\n\r\n", b"431"),
    "head": (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"a" * 900) for n in range(60)) + b"\r\n",
        b"431",
    ),
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"400"),
    "smuggling": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"400"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    "HEAD": (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
}


def with_changes(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(include=settings.model_fields_set), **changes})


async def send(collector: CollectorProcess, method: str, path: str, data: bytes | None = None, **headers: str):
    sent = {"Content-Type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with collector.http.request(method, path, data=data, headers=sent) as answer:
        return answer.status, await answer.read(), answer.headers


def event(**fields: object) -> bytes:
    return orjson.dumps({"event_type": "click", **fields})


async def sources(settings: Settings) -> list[dict]:
    return [decode_source(record.key, record.value) for record in await read_all(settings, SOURCE)]


async def test_a_page_of_another_origin_posts_without_a_preflight_and_reads_its_answer(collector):
    status, _, headers = await send(
        collector,
        "POST",
        TRACK,
        gzip.compress(event()),
        Content_Type="text/plain",
        Content_Encoding="gzip",
        Origin=PAGE,
    )
    assert status == 202
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Expose-Headers"] == "Retry-After"

    # A page of the world, on a collector without keys: it may post, and its cookies stay out of it.
    status, _, headers = await send(collector, "POST", TRACK, event(), Content_Type="text/plain", Origin="https://a.b")
    assert (status, headers["Access-Control-Allow-Origin"]) == (202, "*")
    assert "Access-Control-Allow-Credentials" not in headers

    status, body, headers = await send(collector, "OPTIONS", TRACK, Origin=PAGE, Access_Control_Request_Method="POST")
    assert (status, body) == (204, b"")
    assert {"X-Write-Key", "Traceparent"} <= set(headers["Access-Control-Allow-Headers"].split(", "))
    assert headers["Access-Control-Allow-Origin"] == PAGE

    # A page of the collector itself needs none of it.
    status, _, headers = await send(collector, "POST", TRACK, event(), Origin=collector.url)
    assert status == 202
    assert "Access-Control-Allow-Origin" not in headers


async def test_a_pixel_is_always_an_image_and_its_status_tells(collector):
    query = urlsafe_b64encode(event(session_id="s1", event_id="e1")).decode().rstrip("=")
    for path, expected in ((f"{PIXEL}?d={query}", 200), (f"{PIXEL}?d=e30", 400), (PIXEL, 400)):
        status, body, headers = await send(collector, "GET", path)
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (expected, "image/gif", "no-store"), path
        assert body.startswith(b"GIF89a"), path
        assert len(body) == int(headers["Content-Length"]), path
    [record] = await sources(collector.settings)
    assert (record["session_id"], record["data"]["event_id"]) == ("s1", "e1")


async def test_the_visitor_is_worked_out_at_the_edge_and_travels_in_the_record(collect_settings, tmp_path):
    settings = with_changes(
        collect_settings, trusted_proxies="127.0.0.0/8, ::1", geo_country_header="CF-IPCountry", ip_policy="truncate"
    )
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        body = event(page_url="https://shop.example/?utm_source=mail", referrer_url="https://search.example/?q=shoes")
        headers = {"User_Agent": FIREFOX, "Accept_Language": "de-AT,de;q=0.9", "CF_IPCountry": "AT"}
        status, _, _ = await send(collector, "POST", TRACK, body, **headers, X_Forwarded_For="9.9.9.9, 198.51.100.77")
        assert status == 202
        objecting = {**headers, "Sec_GPC": "1"}
        status, _, answered = await send(
            collector,
            "POST",
            TRACK,
            event(user_id="u"),
            **objecting,
            Cookie="tracker_session=01a20bc4-6db1-7727-96d7-27d374d76c47",
        )
        assert status == 202
        assert "Set-Cookie" not in answered
        with_visitor, anonymous = sorted(await sources(settings), key=lambda record: "ip" not in record["visitor"])
    assert with_visitor["visitor"] == {
        "user_agent": FIREFOX,
        "browser": "Firefox",
        "browser_version": "128.0",
        "os": "Linux",
        "device_type": "desktop",
        "language": "de-AT",
        "country": "AT",
        "ip": "198.51.100.0",
        "utm_source": "mail",
        "referrer_host": "search.example",
    }
    assert anonymous["session_id"] != "01a20bc4-6db1-7727-96d7-27d374d76c47"
    assert "user_id" not in anonymous["data"]
    assert not {"ip", "user_agent"} & anonymous["visitor"].keys()


async def test_cookies_objections_and_clocks_follow_the_settings(collect_settings, tmp_path):
    settings = with_changes(
        collect_settings,
        cookie_name="sid",
        cookie_foreign_ids=True,
        cookie_domain="shop.example",
        dnt_policy="drop",
        gpc_policy="ignore",
    )
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        # An id that an application has put there goes on as it is, and slides.
        status, body, headers = await send(
            collector, "POST", TRACK, event(), Cookie="a=b; sid=app-session-1", Sec_GPC="1"
        )
        assert (status, orjson.loads(body)["session_id"]) == (202, "app-session-1")
        cookie = SimpleCookie(headers["Set-Cookie"])["sid"]
        assert (cookie.value, cookie["domain"], cookie["secure"]) == ("app-session-1", "shop.example", True)
        assert cookie["max-age"] == str(settings.session_timeout_seconds)

        for sent in (event(), orjson.dumps({"batch": [orjson.loads(event())]})):
            status, body, headers = await send(collector, "POST", TRACK, sent, DNT="1")
            verdict = orjson.loads(body)
            assert (status, verdict.get("results", [verdict])[0]["status"]) == (202, "dropped")
            assert "Set-Cookie" not in headers
        text = await collector.until_figures()
        assert 'tracker_collect_events_dropped_total{signal="dnt"} 2.0' in text
        assert len(await sources(settings)) == 1


async def test_a_visitor_who_has_agreed_is_known_by_a_cookie_until_it_is_denied(collect_settings, tmp_path):
    settings = with_changes(collect_settings, visitor_cookie_name="visitor", cookie_secure=False)
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:

        async def cookies(path: str, *, cookie: str = "", **fields: object) -> SimpleCookie:
            headers = {"Cookie": f"visitor={cookie}"} if cookie else {}
            status, _, answered = await send(collector, "POST", path, orjson.dumps(fields), **headers)
            assert status == 202
            found = SimpleCookie()
            for header in answered.getall("Set-Cookie", ()):
                found.load(header)
            return found

        assert "visitor" not in await cookies(TRACK, session_id="s1", event_type="click")
        assert "visitor" not in await cookies(SESSION, session_id="s1", user_id="u1")
        minted = (await cookies(SESSION, session_id="s1", consent_analytics="granted"))["visitor"]
        assert (minted["max-age"], minted["httponly"], minted["samesite"]) == (str(395 * 86_400), True, "Lax")
        assert "visitor" not in await cookies(TRACK, session_id="s2", event_type="click", cookie=minted.value)
        assert "visitor" not in await cookies(SESSION, consent_analytics="granted", cookie=minted.value)
        removed = (await cookies(SESSION, session_id="s2", consent_analytics="denied", cookie=minted.value))["visitor"]
        assert (removed.value, removed["max-age"]) == ("", "0")
        told = [record.get("visitor_id") for record in await sources(settings)]
        assert [told.count(minted.value), told.count(None)] == [3, 3]


async def test_a_slow_head_a_slow_body_and_a_client_that_only_stops_sending(collector):
    port = collector.settings.collect_port
    head = b"POST /api/v1/events/track HTTP/1.1\r\nHost: x\r\n"
    body = event(session_id="s1")
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    slow[0][1].write(head)
    slow[1][1].write(head + b"Content-Length: 100\r\n\r\n{")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).split()[1] == b"202"
        for slow_reader, slow_writer in slow:
            assert (await slow_reader.readline()).split()[1] == b"408"
            await slow_reader.read()  # and it ends
            slow_writer.close()
    writer.close()


async def test_requests_that_come_at_once_on_one_connection_are_answered_in_their_order(collector):
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.settings.collect_port)
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    track = b"POST /api/v1/events/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in event(session_id="s1")) + b"0\r\n\r\n"
    writer.write(health * 2_000 + (track + chunks) * 3 + health.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        answered = await reader.read()
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answered)
    assert statuses == [b"200"] * 2_000 + [b"202"] * 3 + [b"200"]
    writer.close()
    assert len(await read_all(collector.settings, SOURCE)) == 3


async def test_heads_have_limits(collector):
    for name, (head, status) in HEADS.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.settings.collect_port)
        writer.write(head)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.readline()).split()[1] == status, name
            assert b"Connection: close" in await reader.read(), name
        writer.close()
