"""Keys, origins and rates: who belongs gets in, who does not learns nothing, and nothing secret reaches a log."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from yarl import URL

from tests.integration.collect.collector_process import CollectorProcess, running_collector, spawn
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from topics.catalog import SOURCE
from topics.codec import decode_source
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
SESSION = "/api/v1/events/session"
SHOP = "https://shop.example"
WRITE = {workspace: f"write-key-of-{workspace}-0123" for workspace in ("w1", "w2", "w3")}
READ = {workspace: f"read-key-of-{workspace}-0123" for workspace in ("w1", "w2", "w3")}
COOKIE = Settings().cookie_name
MINTED = "01a20bc4-6db1-7727-96d7-27d374d76c47"


def keys_file(**w1: object) -> bytes:
    write = [{"name": f"write-{w}", "key": WRITE[w], "workspace_id": w, "origins": [SHOP]} for w in WRITE]
    write[0].update({"project_id": "p1", **w1})
    write[1]["scope"] = "secret"
    read = [{"name": f"read-{w}", "key": READ[w], "workspace_id": w} for w in READ]
    return orjson.dumps({"write_keys": write, "read_keys": read})


def with_changes(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(include=settings.model_fields_set), **changes})


@pytest.fixture
async def guarded(collect_settings: Settings, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    path = tmp_path / "keys.json"
    path.write_bytes(keys_file())
    settings = with_changes(
        collect_settings, keys_file=path, collect_key_events_per_second=100, collect_ip_key_percent=100
    )
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as running:
        yield running


@pytest.fixture
async def processor(guarded: CollectorProcess) -> AsyncIterator[None]:
    """Stands where the processor would: a session belongs to the workspace that its id begins with."""

    async def session(request: web.Request) -> web.Response:
        session_id = request.match_info["id"]
        if session_id == "unknown":
            return web.json_response({"error": {"code": "unknown_session", "message": "no such session"}}, status=404)
        workspace_id, _, _ = session_id.partition("-")
        body = {"session_id": session_id, "secret": "of the workspace"}
        return web.json_response(body if workspace_id == "none" else {**body, "workspace_id": workspace_id})

    app = web.Application()
    app.router.add_get("/session/{id}", session)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", URL(guarded.settings.process_url).port).start()
    yield
    await runner.cleanup()


async def track(collector: CollectorProcess, path: str = TRACK, body: object = None, **headers: str):
    sent = {"Content-Type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
    data = orjson.dumps({"event_type": "click", "session_id": "s1"} if body is None else body)
    async with collector.http.post(path, data=data, headers=sent) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_write_key_opens_its_own_workspace_to_its_own_pages(guarded):
    for name, path, headers, expected in (
        ("header", TRACK, {"X_Write_Key": WRITE["w1"]}, 202),
        ("bearer", TRACK, {"Authorization": f"Bearer {WRITE['w1']}"}, 202),
        ("query", f"{TRACK}?key={WRITE['w1']}", {"Content_Type": "text/plain"}, 202),
        ("its page", TRACK, {"X_Write_Key": WRITE["w1"], "Origin": SHOP}, 202),
        ("session", SESSION, {"X_Write_Key": WRITE["w1"]}, 202),
        ("flush", f"{SESSION}/{MINTED}/flush", {"X_Write_Key": WRITE["w1"], "Cookie": f"{COOKIE}={MINTED}"}, 202),
        ("flush without the cookie", f"{SESSION}/s1/flush", {"X_Write_Key": WRITE["w1"]}, 403),
        ("another page", TRACK, {"X_Write_Key": WRITE["w1"], "Origin": "https://evil.test"}, 403),
        ("no key", TRACK, {}, 401),
        ("unknown key", TRACK, {"X_Write_Key": "x" * 20}, 401),
        ("unknown key at flush", f"{SESSION}/s1/flush", {"X_Write_Key": "x" * 20}, 401),
        ("read key", TRACK, {"X_Write_Key": READ["w1"]}, 403),
    ):
        body = {"user_id": "u"} if path == SESSION else None
        status, answered, _ = await track(guarded, path, body, **headers)
        assert status == expected, (name, answered)
    records = [decode_source(r.key, r.value) for r in await read_all(guarded.settings, SOURCE)]
    assert {record["workspace_id"] for record in records} == {"w1"}
    given = [record["data"] for record in records if record["type"] != "flush"]
    assert [data["project_id"] for data in given] == ["p1"] * 5

    status, answered, _ = await track(
        guarded, body={"event_type": "click", "workspace_id": "w2"}, X_Write_Key=WRITE["w1"]
    )
    assert (status, answered["error"]["reasons"]) == (400, ["workspace_id: is not the write key's own"])
    async with guarded.http.delete(f"{SESSION}/s1", headers={"X-Write-Key": WRITE["w2"]}) as answer:
        assert answer.status == 202
    records = [decode_source(r.key, r.value) for r in await read_all(guarded.settings, SOURCE)]
    [expire] = [record for record in records if record["type"] == "expire"]
    assert expire["workspace_id"] == "w2"


async def test_a_read_key_sees_its_own_workspace_and_nothing_of_another(guarded, processor):
    async def ask(session_id: str, key: str | None):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with guarded.http.get(f"{SESSION}/{session_id}", headers=headers) as answer:
            return answer.status, await answer.read(), {k: v for k, v in answer.headers.items() if k != "Date"}

    unknown = {w: await ask("unknown", READ[w]) for w in READ}
    for reader, owner in itertools.product(READ, [*READ, "none"]):
        answered = await ask(f"{owner}-session", READ[reader])
        if reader == owner:
            assert answered[0] == 200
            assert orjson.loads(answered[1])["workspace_id"] == owner
        else:
            assert answered == unknown[reader], (reader, owner)
    for key, status in ((None, 401), ("x" * 20, 401), (WRITE["w1"], 403)):
        answered = await ask("w1-session", key)
        assert (answered[0], b"secret" in answered[1]) == (status, False), key
    async with guarded.http.get(f"{SESSION}/w1-session?key={READ['w1']}") as answer:
        assert answer.status == 401  # a secret does not belong into an address


async def test_a_page_may_read_why_it_was_refused_and_only_pages_of_a_key_pass_a_preflight(guarded):
    status, _, headers = await track(guarded, X_Write_Key="x" * 20, Origin="https://evil.test")
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, "*")
    for origin, expected in ((SHOP, 204), ("https://evil.test", 403), (guarded.url, 204)):
        async with guarded.http.options(TRACK, headers={"Origin": origin}) as answer:
            assert answer.status == expected, origin
            assert ("Access-Control-Allow-Credentials" in answer.headers) == (origin == SHOP)


async def test_keys_are_reloaded_and_a_broken_file_keeps_the_old_ones(guarded):
    path = guarded.settings.keys_file

    async def until(key: str, status: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await track(guarded, X_Write_Key=key))[0] != status:
                pass  # each look is a request of its own

    path.write_bytes(keys_file(key="a-new-write-key-of-w1"))
    await until("a-new-write-key-of-w1", 202)
    await until(WRITE["w1"], 401)
    path.write_bytes(b'{"write_keys": [{"key": "hunter2-hunter2-hunter2"}]}')
    await guarded.until_figures("tracker_collect_keys_file_valid 0.0")
    assert (await track(guarded, X_Write_Key="a-new-write-key-of-w1"))[0] == 202
    path.write_bytes(keys_file())
    await until(WRITE["w1"], 202)
    log = guarded.log_file.read_text()
    assert "its last valid version stays in use" in log
    assert not any(secret in log for secret in ("hunter2", *WRITE.values(), *READ.values(), "a-new-write-key"))


async def test_who_sends_too_much_waits_as_long_as_it_is_told(guarded):
    batch = {"batch": [{"event_type": "click"} for _ in range(250)]}
    statuses = [await track(guarded, body=batch, X_Write_Key=WRITE["w1"]) for _ in range(4)]
    assert [status for status, _, _ in statuses][:2] == [202, 202]  # 100 a second, and 5 seconds' worth at once
    status, body, headers = statuses[-1]
    assert (status, body["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(headers["Retry-After"]) <= 5
    assert (await track(guarded, body=batch, X_Write_Key=WRITE["w2"]))[0] == 202


async def test_an_address_that_asks_too_much_waits_and_what_it_presents_does_not_matter(collect_settings, tmp_path):
    settings = with_changes(collect_settings, collect_open=True, collect_ip_requests_per_second=1)
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        answers = await asyncio.gather(*(track(collector, X_Write_Key=str(number)) for number in range(12)))
        assert {status for status, _, _ in answers} == {202, 429}
        # A connection that was refused waits: its next request is read when the address may send one again.
        assert [status for status, _, _ in answers].count(202) <= 8
        await collector.until_status("/healthz", 200)


async def test_nothing_is_open_to_the_world_by_accident(collect_settings, tmp_path):
    for changes, word in (
        ({"collect_host": "0.0.0.0"}, "TRACKER_KEYS_FILE"),
        ({"collect_metrics_host": "0.0.0.0"}, "TRACKER_INTERNAL_TOKEN"),
        ({"keys_file": tmp_path / "missing.toml"}, "missing.toml"),
        ({"trusted_proxies": "10.0.0.0/99"}, "TRACKER_TRUSTED_PROXIES"),
        ({"geo_database": tmp_path / "missing.mmdb"}, "missing.mmdb"),
        ({"cookie_same_site": "none", "cookie_secure": False}, "TRACKER_COOKIE_SAME_SITE"),
    ):
        environment = Settings.model_construct(
            _fields_set={*collect_settings.model_fields_set, *changes}, **{**collect_settings.model_dump(), **changes}
        )
        log_file = tmp_path / "refused.log"
        process = await spawn(environment, log_file)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 1
        [line] = log_file.read_text().splitlines()
        assert word in line


async def test_whatever_stands_in_a_field_stays_inert_in_the_log(collect_settings, tmp_path):
    settings = with_changes(collect_settings, log_level="debug")
    await create_topics(settings)
    evil = "\r\n\x1b[31m2026-01-01 [error] forged\x1b[0m\n"
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        for body in (
            {"event_type": "click", "metadata": evil, "event_id": evil},
            {"event_type": evil},
            {evil: evil},
            evil,
        ):
            await track(collector, body=body, Cookie="tracker_session=%0d%0a", X_Forwarded_For="%1b[31m")
        reader, writer = await asyncio.open_connection("127.0.0.1", collector.settings.collect_port)
        writer.write(b"GET /\x1b[31m HTTP/1.1\r\nHost: \x1b[31m\r\nUser-Agent: \x1b[31m\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        for path in (f"{SESSION}/%0d%0a%1b[31m", "/%0d%0a%1b[31m", f"{TRACK}?key=%0d%0a%1b[31m&d=%1b"):
            async with collector.http.get(URL(collector.url + path, encoded=True)) as answer:
                await answer.read()
    log = collector.log_file.read_bytes()
    assert b"forged" not in log
    assert b"\x1b" not in log
    assert b"\r" not in log
