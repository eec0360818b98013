"""The client over HTTP, on a real socket: what it sends, what it survives, how it tells of losses."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from event_tracker_client import Client, Limits, Undelivered, new_id

from tests.patience import PATIENCE_MS
from tests.unit.clients.collectors import (
    Collector,
    no_answer,
    reject,
    running_collector,
    status,
)

KEY = "a-secret-key-of-this-service"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def client(collector: Collector, failures: list[Undelivered] | None = None, **options: object) -> Client:
    options.setdefault("limits", Limits(flush_interval_ms=3_600_000, max_retry_wait_ms=1))
    options.setdefault("exit_timeout_ms", PATIENCE_MS)
    on_error = None if failures is None else failures.append
    return Client(collector.url, KEY, on_error=on_error, **options)  # type: ignore[arg-type]


def test_an_event_goes_with_its_session_its_time_and_an_id_of_its_own(collector: Collector):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    with client(collector) as sender:
        event_id = sender.track("s1", "conversion", event_value="49.90")
    (request,) = collector.requests
    assert (request.method, request.path) == ("POST", "/api/v1/events/track")
    (event,) = request.events
    assert before <= datetime.fromisoformat(event.pop("timestamp")) <= datetime.fromisoformat(request.body["sent_at"])
    assert event == {"session_id": "s1", "event_type": "conversion", "event_id": event_id, "event_value": "49.90"}
    assert UUID(event_id).version == 7


def test_ids_sort_by_their_time_of_birth_and_are_all_different():
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(7, "specified in RFC 4122")}


def test_a_session_is_opened_identified_ended_and_flushed_in_the_order_of_the_calls(collector: Collector):
    with client(collector) as sender:
        session_id = sender.init_session(campaign_id="spring", timeout_seconds=600)
        sender.track(session_id, "click")
        sender.end_session("with/ä slash")
        sender.identify(session_id, "u1", {"plan": "pro", "age": 7})
        sender.flush_session(session_id)
        sender.end_session(session_id)
    paths = [(request.method, request.path.removeprefix("/api/v1/events/")) for request in collector.requests]
    assert paths == [
        ("POST", "session"),
        ("DELETE", "session/with%2F%C3%A4%20slash"),  # it is another session's, so it need not wait
        ("POST", "track"),
        ("POST", "session"),
        ("POST", f"session/{session_id}/flush"),
        ("DELETE", f"session/{session_id}"),
    ]
    opened, identified = collector.requests[0].body, collector.requests[3].body
    assert (opened["session_id"], opened["campaign_id"], opened["timeout_seconds"]) == (session_id, "spring", 600)
    assert (identified["user_id"], identified["user_traits"]) == ("u1", '{"age":7,"plan":"pro"}')
    assert {"timestamp", "sent_at"} <= opened.keys()


def test_an_own_event_travels_with_its_schema_and_properties(collector: Collector):
    with client(collector) as sender:
        sender.track(
            "s", "purchase", schema="1-0-0", properties={"amount": 49.9, "at": datetime(2026, 1, 1, tzinfo=UTC)}
        )
    (event,) = collector.events
    assert (event["event_type"], event["schema"]) == ("purchase", "1-0-0")
    assert event["properties"] == {"amount": 49.9, "at": "2026-01-01T00:00:00.000Z"}


def test_objects_go_as_they_are_and_times_as_the_texts_that_the_api_takes(collector: Collector):
    noon = datetime(2026, 11, 25, 12, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    with client(collector, workspace_id="w1") as sender:
        sender.track("s", "click", metadata={"b": [1, None], "a": "ä"}, timestamp=noon, passive=True)
        sender.track("s", "click", timestamp="2026-11-25", workspace_id="w2")
    first, second = collector.events
    assert first["metadata"] == {"b": [1, None], "a": "ä"}
    assert (first["timestamp"], first["passive"], first["workspace_id"]) == ("2026-11-25T11:00:00.123Z", True, "w1")
    assert (second["timestamp"], second["workspace_id"]) == ("2026-11-25", "w2")


def test_half_a_surrogate_pair_costs_one_character_and_no_event(collector: Collector):
    with client(collector) as sender:
        sender.track("s\udc80", "click", clicked_element="cut \ud83d")
        sender.end_session("s\udc80")
    assert [(event["session_id"], event["clicked_element"]) for event in collector.events] == [
        ("s\ufffd", "cut \ufffd")
    ]
    assert collector.requests[-1].path.endswith("/s%EF%BF%BD")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"metadata": {"x": float("nan")}}, "Out of range float"),
        ({"event_value": object()}, "JSON has no form for a object"),
        ({"metadata": {"x": {1, 2}}}, "JSON has no form for a set"),
    ],
)
def test_a_value_that_json_does_not_have_is_reported_and_raises_nothing(collector: Collector, fields, reason):
    failures: list[Undelivered] = []
    with client(collector, failures) as sender:
        sender.track("s", "click", **fields)
        sender.track(None, "click")  # type: ignore[call-overload]
        good = sender.track("s", "click")
    assert [failure.code for failure in failures] == ["rejected", "rejected"]
    assert reason in failures[0].reasons[0]
    assert failures[1].reasons == ("session_id: must be a text, not a NoneType",)
    assert [event["event_id"] for event in collector.events] == [good]


def test_something_endless_is_reported_and_raises_nothing(collector: Collector):
    endless: dict[str, object] = {}
    endless["again"] = endless
    failures: list[Undelivered] = []
    with client(collector, failures) as sender:
        sender.track("s", "click", metadata=endless)
    assert [failure.code for failure in failures] == ["rejected"]


def test_the_key_goes_into_a_header_and_is_said_nowhere(collector: Collector, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    collector.answers.extend([status(401, "unauthorized"), no_answer])
    with client(collector) as sender:
        sender.track("s", "click")
        assert KEY not in repr(sender)
        assert KEY not in repr(vars(sender))
    assert {request.headers["X-Write-Key"] for request in collector.requests} == {KEY}
    assert "HTTP 401 unauthorized: no" in caplog.text
    assert KEY not in caplog.text
    for wrong in (f"{KEY}\n", f"{KEY}ä"):
        with pytest.raises(ValueError, match="write_key") as raised:
            Client(collector.url, wrong)
        assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["collect.example.com", "ftp://a.example", "https://", "https://key@a.example", "http://a/?k=1"]
)
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(ValueError, match="url"):
        Client(url)


def test_an_address_may_have_a_path(collector: Collector):
    with Client(collector.url + "/tracking/") as sender:
        sender.track("s", "click")
    assert [request.path for request in collector.requests] == ["/tracking/api/v1/events/track"]


def test_a_repeat_has_the_same_bytes_whatever_the_failure(collector: Collector):
    failures = [no_answer, status(503, "kafka_unavailable"), status(429, "rate_limited", Retry_After="0"), status(502)]
    collector.answers.extend(failures)
    with client(collector) as sender:
        ids = [sender.track("s", "click", event_value=str(n)) for n in range(3)]
    assert len(collector.requests) == len(failures) + 1
    assert all(request.events == collector.requests[0].events for request in collector.requests)
    assert [event["event_id"] for event in collector.requests[0].events] == ids
    assert (sender.delivered, sender.given_up) == (3, {})


def test_bad_events_are_reported_and_the_rest_goes_on(collector: Collector):
    failures: list[Undelivered] = []
    collector.answers.append(reject("bad"))
    with client(collector, failures) as sender:
        for event_id in ("good-1", "bad", "good-2"):
            sender.track("s", "click", event_id=event_id)
    assert [(failure.event_id, failure.code, failure.reasons) for failure in failures] == [
        ("bad", "rejected", ("event_value: too long",))
    ]
    assert (sender.delivered, sender.given_up, sender.waiting) == (2, {"rejected": 1}, 0)


def test_a_callback_that_raises_harms_nothing(collector: Collector, caplog: pytest.LogCaptureFixture):
    def raises(_: Undelivered) -> None:
        raise RuntimeError("of the application")

    collector.answers.append(reject("bad"))
    with Client(collector.url, on_error=raises) as sender:
        sender.track("s", "click", event_id="bad")
        assert sender.flush(PATIENCE_MS) == 0
        sender.track("s", "click", event_id="good")
        assert sender.flush(PATIENCE_MS) == 0
    assert sender.delivered == 1
    assert "on_error has raised" in caplog.text


def test_a_callback_may_tell_of_another_event_and_flush(collector: Collector):
    def tell(failure: Undelivered) -> None:
        sender.track("s", "click", event_id=f"instead-of-{failure.event_id}")
        sender.flush()

    collector.answers.append(reject("bad"))
    sender = Client(collector.url, on_error=tell)
    sender.track("s", "click", event_id="bad")
    sender.flush(PATIENCE_MS)
    assert sender.close(PATIENCE_MS) == 0
    assert [event["event_id"] for event in collector.events] == ["bad", "instead-of-bad"]


def test_closing_says_how_many_were_not_delivered(collector: Collector, caplog: pytest.LogCaptureFixture):
    failures: list[Undelivered] = []
    collector.passing.clear()
    sender = client(collector, failures, limits=Limits(max_batch_events=2))
    for n in range(5):
        sender.track("s", "click", event_id=str(n))
    collector.until(1)
    assert sender.close(timeout_ms=20) == 5
    assert [(each.code, each.may_have_arrived) for each in failures] == [("closed", True)] * 2 + [("closed", False)] * 3
    assert "5 items were not delivered" in caplog.text
    sender.track("s", "click", event_id="late")
    assert failures[-1].event_id == "late"
    assert sender.close(timeout_ms=20) == 0
    collector.passing.set()


def test_a_flush_that_takes_too_long_says_what_still_waits(collector: Collector):
    collector.passing.clear()
    sender = client(collector)
    sender.track("s", "click")
    assert sender.flush(timeout_ms=20) == 1
    collector.passing.set()
    assert sender.flush(PATIENCE_MS) == 0
    assert sender.close() == 0


def test_a_full_queue_drops_what_comes_on_top_and_says_so_in_few_lines(
    collector: Collector, caplog: pytest.LogCaptureFixture
):
    failures: list[Undelivered] = []
    collector.passing.clear()
    with client(collector, failures, limits=Limits(max_queue_items=3, flush_interval_ms=0)) as sender:
        for n in range(1_003):
            sender.track("s", "click", event_id=str(n))
        assert len(failures) == sender.given_up["queue_full"] == 1_000
        collector.passing.set()
    assert [event["event_id"] for event in collector.events] == ["0", "1", "2"]
    assert sum("not delivered" in record.message for record in caplog.records) <= 13


def test_a_call_may_wait_for_room_instead(collector: Collector):
    with client(collector, limits=Limits(max_queue_items=3), wait_when_full_ms=PATIENCE_MS) as sender:
        ids = [sender.track("s", "click") for _ in range(50)]
    assert [event["event_id"] for event in collector.events] == ids
    assert sender.given_up == {}


def test_threads_share_a_client_and_nothing_is_lost(collector: Collector):
    with client(collector, limits=Limits(flush_interval_ms=1), connections=3) as sender:

        def tell(name: str) -> None:
            for n in range(200):
                sender.track(name, "click", event_id=f"{name}-{n}")

        threads = [threading.Thread(target=tell, args=(f"thread-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    by_session: dict[str, list[str]] = {}
    for event in collector.events:
        by_session.setdefault(event["session_id"], []).append(event["event_id"])
    assert by_session == {f"thread-{t}": [f"thread-{t}-{n}" for n in range(200)] for t in range(8)}
    assert len({request.peer for request in collector.requests}) == 3


def test_batches_share_a_connection_and_a_refusing_collector_is_left(collector: Collector):
    with client(collector, limits=Limits(max_batch_events=1, max_retry_wait_ms=1)) as sender:
        for _ in range(3):
            sender.track("s", "click")
        sender.flush(PATIENCE_MS)
        assert len({request.peer for request in collector.requests}) == 1
        collector.answers.append(status(503, "overloaded", Retry_After="0"))
        sender.track("s", "click")
        sender.flush(PATIENCE_MS)
    assert len({request.peer for request in collector.requests}) == 2


def test_a_visitors_headers_go_with_the_opening_and_can_break_nothing(collector: Collector):
    with client(collector) as sender:
        sender.init_session("s", user_agent="Mozilla/5.0\r\nX-Evil: 1 ☂", accept_language="de", ip="203.0.113.9")
        sender.track("s", "click")
    opened, tracked = (request.headers for request in collector.requests)
    assert opened["User-Agent"] == "Mozilla/5.0  X-Evil: 1 ?"
    assert (opened["Accept-Language"], opened["X-Forwarded-For"]) == ("de", "203.0.113.9")
    assert "X-Evil" not in opened
    assert tracked["User-Agent"].startswith("event-tracker-client-py/")


def test_a_body_is_compressed_where_that_saves_something(collector: Collector):
    for use_gzip, encoding in ((True, "gzip"), (False, None)):
        with client(collector, use_gzip=use_gzip) as sender:
            for _ in range(20):
                sender.track("s", "click", page_url="https://shop.example/a/page")
        assert collector.requests[-1].headers.get("Content-Encoding") == encoding
        assert len(collector.requests[-1].events) == 20
    with client(collector) as sender:
        sender.track("s", "click")
    assert "Content-Encoding" not in collector.requests[-1].headers


def test_an_event_loop_is_not_blocked(collector: Collector):
    async def serve() -> tuple[int, int]:
        async with client(collector) as sender:
            collector.passing.clear()
            sender.track("s", "click")
            flushing = asyncio.create_task(sender.aflush())
            await asyncio.to_thread(collector.until, 1)
            assert not flushing.done()
            collector.passing.set()
            return await flushing, sender.delivered

    assert asyncio.run(serve()) == (0, 1)


def test_trouble_is_logged_once_when_it_begins_and_once_when_it_is_over(
    collector: Collector, caplog: pytest.LogCaptureFixture
):
    collector.answers.extend([status(503, "kafka_unavailable", Retry_After="0")] * 5)
    with client(collector) as sender:
        sender.track("s", "click")
        sender.flush(PATIENCE_MS)
    assert [record.message for record in caplog.records] == [
        "the tracker takes nothing now: HTTP 503 kafka_unavailable: no; 1 items wait",
        "the tracker takes events again; 0 items wait",
    ]
