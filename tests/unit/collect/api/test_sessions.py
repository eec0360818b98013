"""Sessions over the API: opened, closed, flushed, each as a record and with the cookies that belong to it."""

import orjson
import pytest

from tests.unit.collect.api.collector import AS_SERVICE, SERVICE, SESSION, header, running_collector, write_keys
from tracker.collect.api.write_path import VISITOR_COOKIE_SECONDS

PAGE = {"Origin": "https://shop.example", "Host": "shop.example"}
MINTED = "01a20bc4-6db1-7727-96d7-27d374d76c47"


@pytest.fixture
def keys_file(tmp_path):
    page = {"name": "page", "key": "public-key-of-w1-0123", "origins": ["https://shop.example"]}
    return write_keys(tmp_path, write_keys=[page, {**SERVICE, "project_id": "p1"}])


async def test_a_session_is_opened_with_what_its_body_says_and_kept_in_a_cookie_as_long_as_it_lives(tmp_path):
    async with running_collector(tmp_path) as running:
        response = await running.ask("POST", SESSION, {"user_id": "u1", "timeout_seconds": 600}, **PAGE)
    [(key, record)] = running.records
    assert (response.status, orjson.loads(response.body)) == (202, {"session_id": key.decode()})
    assert (record["type"], record["data"]["user_id"], record["data"]["timeout_seconds"]) == ("session", "u1", 600)
    cookie = header(response, "Set-Cookie") or ""
    assert cookie.startswith(f"tracker_session={key.decode()};")
    assert "Max-Age=600" in cookie


async def test_the_cookie_of_a_session_lives_as_long_as_the_settings_say_if_its_body_does_not(tmp_path):
    async with running_collector(tmp_path, session_timeout_seconds=1_234) as running:
        response = await running.ask("POST", SESSION, {}, **PAGE)
    assert "Max-Age=1234" in (header(response, "Set-Cookie") or "")


async def test_a_session_of_a_visitor_who_objects_is_dropped(tmp_path):
    async with running_collector(tmp_path, dnt_policy="drop") as running:
        response = await running.ask("POST", SESSION, {}, DNT="1", **PAGE)
    assert (response.status, orjson.loads(response.body)["status"]) == (202, "dropped")
    assert response.headers == []
    assert running.records == []
    assert running.metric("tracker_collect_events_dropped_total", signal="dnt") == 1


async def test_a_visitor_who_agrees_gets_a_visitor_id_that_the_cookie_keeps_and_the_record_has(tmp_path):
    async with running_collector(tmp_path, visitor_cookie_name="visitor") as running:
        first = await running.ask("POST", SESSION, {"consent_analytics": "granted"}, **PAGE)
        cookies = [value for name, value in first.headers if name == "Set-Cookie"]
        [kept] = [each for each in cookies if each.startswith("visitor=")]
        visitor_id = kept.partition(";")[0].removeprefix("visitor=")
        assert f"Max-Age={VISITOR_COOKIE_SECONDS}" in kept
        again = await running.ask(
            "POST", SESSION, {"consent_analytics": "granted"}, Cookie=f"visitor={visitor_id}", **PAGE
        )
        revoked = await running.ask(
            "POST", SESSION, {"consent_analytics": "denied"}, Cookie=f"visitor={visitor_id}", **PAGE
        )
    assert not [value for name, value in again.headers if name == "Set-Cookie" and value.startswith("visitor=")]
    [removed] = [value for name, value in revoked.headers if name == "Set-Cookie" and value.startswith("visitor=")]
    assert "Max-Age=0" in removed
    told = sorted(record.get("visitor_id", "") for _, record in running.records)
    assert told == ["", visitor_id, visitor_id]


@pytest.mark.parametrize(
    ("method", "address", "type_", "key"),
    [
        ("DELETE", f"{SESSION}/s1", "expire", b"s1"),
        ("POST", f"{SESSION}/s1/flush", "flush", b"s1"),
        ("DELETE", f"{SESSION}/flush", "expire", b"flush"),
        ("POST", f"{SESSION}/a%2Fb/flush", "flush", b"a/b"),
    ],
)
async def test_a_session_is_closed_or_flushed_by_a_record_in_the_log(tmp_path, method, address, type_, key):
    async with running_collector(tmp_path) as running:
        response = await running.ask(method, address)
    assert (response.status, orjson.loads(response.body)) == (202, {"session_id": key.decode()})
    [(its_key, record)] = running.records
    assert (its_key, record["type"]) == (key, type_)


async def test_a_record_has_the_workspace_and_project_of_its_senders_key(tmp_path, keys_file):
    async with running_collector(tmp_path, keys_file=keys_file) as running:
        for method, address, body in (("POST", SESSION, {"session_id": "s1"}), ("DELETE", f"{SESSION}/s1", None)):
            response = await running.ask(method, address, body, **AS_SERVICE)
            assert response.status == 202
    opened, closed = (record for _, record in running.records)
    assert (opened["workspace_id"], opened["data"]["project_id"]) == ("w1", "p1")
    assert closed["workspace_id"] == "w1"
    assert "visitor" not in opened


async def test_a_public_key_closes_only_the_session_of_its_cookie(tmp_path, keys_file):
    key = {"X_Write_Key": "public-key-of-w1-0123", **PAGE}
    async with running_collector(tmp_path, keys_file=keys_file) as running:
        others = await running.ask("DELETE", f"{SESSION}/s1", Cookie=f"tracker_session={MINTED}", **key)
        own = await running.ask("DELETE", f"{SESSION}/{MINTED}", Cookie=f"tracker_session={MINTED}", **key)
    assert (others.status, own.status) == (403, 202)
    assert b"secret key" in others.body
    assert [(its_key, record["type"]) for its_key, record in running.records] == [(MINTED.encode(), "expire")]


async def test_opening_and_closing_count_as_events_of_the_address(tmp_path):
    few = {"collect_open": True, "collect_ip_events_per_second": 1 / 600, "collect_burst_seconds": 600}
    for method, address in (("POST", SESSION), ("DELETE", f"{SESSION}/s1")):
        async with running_collector(tmp_path / method, **few) as running:
            answers = [await running.ask(method, address, {} if method == "POST" else None) for _ in range(2)]
        assert [answer.status for answer in answers] == [202, 429]
        assert header(answers[1], "Retry-After") is not None
        assert len(running.records) == 1


async def test_a_session_is_not_asked_about_before_the_collector_has_started(tmp_path):
    async with running_collector(tmp_path) as running:
        running.collector._sessions.queries = None
        response = await running.ask("GET", f"{SESSION}/s1")
    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (503, "processor_unavailable")
