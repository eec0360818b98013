"""The client as a library: what it takes, what it says of each row, and that it stays within Tinybird's limits."""

import asyncio
from math import log2
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.fixtures.tinybird_double import TOKEN, Request, TinybirdDouble, refuse, status
from tests.patience import PATIENCE_SECONDS
from tracker.datasources.files import shipped_datasources
from tracker.errors import ConfigurationError
from tracker.tinybird.client import InvalidRows, TinybirdClient
from tracker.tinybird.delivery import Outcome
from tracker.tinybird.pacing import ApiLimits

VALUES = {"String": "", "UInt32": 1, "UInt64": 2, "Bool": False, "DateTime64(3)": "2026-01-02T03:04:05.678Z"}


def row(datasource: str, **values: Any) -> Any:
    """A row with something in every column that needs a value."""
    columns = shipped_datasources()[datasource].columns
    plain = {column.name: column.type.removeprefix("LowCardinality(").removesuffix(")") for column in columns}
    plain |= {column.name: column.type for column in columns if column.type in VALUES}
    return {column.name: VALUES[plain[column.name]] for column in columns if not column.nullable} | values


def events(count: int) -> list[Any]:
    return [row("events_v1", id=f"e{number}") for number in range(count)]


def client_of(double: TinybirdDouble, **limits: int) -> TinybirdClient:
    return TinybirdClient(double.url, TOKEN, limits=ApiLimits(**limits))


def ids(double: TinybirdDouble, datasource: str = "events_v1") -> list[str]:
    return [orjson.loads(line)["id"] for line in double.rows(datasource)]


async def test_events_arrive_in_one_request_where_they_fit_into_one(double: TinybirdDouble):
    async with client_of(double) as client:
        outcome = await client.batch_ingest_events(events(50))
    assert (outcome.written_rows, outcome.turned_away) == (50, [])
    assert len(double.requests) == 1
    assert ids(double) == [f"e{number}" for number in range(50)]


async def test_more_than_a_request_may_hold_goes_in_several_and_places_stay_right(double: TinybirdDouble):
    bad = orjson.dumps(events(50)[37])
    double.answers.append(refuse(bad.__eq__, 400, double))
    async with client_of(double, request_max_bytes=5_000) as client:
        outcome = await client.batch_ingest_events(events(50))
    assert all(sum(map(len, request.lines)) + len(request.lines) <= 5_001 for request in double.requests)
    assert [(row.place, row.reason) for row in outcome.turned_away] == [(37, "refused")]
    assert outcome.written_rows == 49


async def test_events_and_their_session_go_at_the_same_time(double: TinybirdDouble):
    both_are_here = asyncio.Barrier(2)

    async def together(request: Request) -> web.StreamResponse:
        await both_are_here.wait()
        return await double.default(request)

    double.answers += [together, together]
    async with asyncio.timeout(PATIENCE_SECONDS), client_of(double) as client:
        outcomes = await client.ingest_events_and_session(events(3), row("session_v1", session_id="s"))
    assert isinstance(outcomes.events, Outcome)
    assert isinstance(outcomes.session, Outcome)
    assert (outcomes.events.written_rows, outcomes.session.written_rows) == (3, 1)


async def test_each_of_the_two_has_its_own_outcome(double: TinybirdDouble):
    async def no_sessions(request: Request) -> web.StreamResponse:
        return web.Response(status=404) if request.datasource == "session_v1" else await double.default(request)

    double.answers += [no_sessions, no_sessions]
    async with client_of(double) as client:
        outcomes = await client.ingest_events_and_session(events(3), row("session_v1"))
    assert isinstance(outcomes.session, ConfigurationError)
    assert isinstance(outcomes.events, Outcome)
    assert outcomes.events.written_rows == 3


@pytest.mark.parametrize(
    ("wrong", "column"),
    [({"session_event_sequence": "1"}, "session_event_sequence"), ({"viewport_width": -1}, "viewport_width")],
)
async def test_a_row_that_does_not_fit_its_datasource_is_named_and_nothing_is_sent(
    double: TinybirdDouble, wrong: dict[str, Any], column: str
):
    async with client_of(double) as client:
        with pytest.raises(InvalidRows, match=rf"events_v1: row 1: {column}") as raised:
            await client.batch_ingest_events([*events(1), row("events_v1", **wrong)])
    assert raised.value.problems.keys() == {1}
    assert double.requests == []


async def test_a_missing_column_is_named(double: TinybirdDouble):
    without = row("session_v1")
    del without["event_count"]
    async with client_of(double) as client:
        with pytest.raises(InvalidRows, match="event_count"):
            await client.ingest_sessions([without])


@pytest.mark.parametrize("bad_count", [1, 3, 10])
async def test_bad_rows_are_found_in_few_requests(double: TinybirdDouble, bad_count: int):
    rows = [b'{"n":%d}' % number for number in range(1_000)]
    bad = set(rows[:: len(rows) // bad_count][:bad_count])
    double.answers.append(refuse(bad.__contains__, 400, double))
    async with client_of(double, requests_per_second=100_000) as client:
        outcome = await client.send_rows("events_v1", rows)
    assert {rows[row.place] for row in outcome.turned_away} == bad
    assert len(double.requests) <= 1 + 2 * bad_count * (log2(len(rows)) + 1)


@pytest.mark.usefixtures("without_waits")
async def test_while_a_datasource_fails_one_request_tries_for_all_and_the_other_datasource_goes_on(
    double: TinybirdDouble,
):
    all_try = asyncio.Barrier(8)
    under_way, most, failures = 0, 0, 0

    async def fail(request: Request) -> web.StreamResponse:
        nonlocal under_way, most, failures
        if request.datasource == "session_v1" or failures == 30:
            return await double.default(request)
        failures += 1
        if failures <= all_try.parties:
            await all_try.wait()
        else:
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
        return web.Response(status=503)

    double.answers += [fail] * 100
    async with asyncio.timeout(PATIENCE_SECONDS), client_of(double) as client:
        sending = [asyncio.create_task(client.send_rows("events_v1", [b"{}"])) for _ in range(all_try.parties)]
        await client.send_rows("session_v1", [b"{}"])
        await asyncio.gather(*sending)
        assert client.circuit("events_v1").state == "closed"
    assert (failures, most) == (30, 1)
    assert len(double.rows("events_v1")) == all_try.parties


async def test_a_limit_that_the_headers_tell_is_obeyed_before_it_is_hit(double: TinybirdDouble):
    async def last_one(request: Request) -> web.StreamResponse:
        answer = await double.default(request)
        answer.headers.update({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"})
        return answer

    double.answers.append(last_one)
    async with client_of(double) as client:
        for _ in range(2):
            await client.send_rows("events_v1", [b"{}"])
    first, second = double.requests
    assert second.at_seconds - first.at_seconds >= 0.9


async def test_requests_and_bytes_keep_the_pace_that_is_configured(double: TinybirdDouble):
    began = asyncio.get_running_loop().time()
    limits = {"requests_per_second": 20, "bytes_per_second": 100_000, "request_max_bytes": 50_000}
    async with client_of(double, **limits) as client:
        small = [client.send_rows("events_v1", [b"{}"]) for _ in range(30)]
        await asyncio.gather(client.send_rows("session_v1", [b"x" * 40_000] * 5), *small)
    took = {request.datasource: request.at_seconds - began for request in double.requests}
    # Half a second's worth may go at once.
    assert took["events_v1"] >= (30 - 10) / 20 * 0.9
    assert took["session_v1"] >= (200_000 - 50_000) / 100_000 * 0.9


async def test_a_quarantined_row_is_found_by_our_own_columns_if_the_quarantine_can_not_be_read(double: TinybirdDouble):
    rows = [orjson.dumps(event) for event in events(3)]
    rows[1] = orjson.dumps(row("events_v1", session_event_sequence="two"))

    async def quarantines_one(_: Request) -> web.StreamResponse:
        return web.json_response({"successful_rows": 2, "quarantined_rows": 1})

    double.answers.append(quarantines_one)
    async with client_of(double) as client:
        outcome = await client.send_rows("events_v1", rows)
    (away,) = outcome.turned_away
    assert (outcome.written_rows, away.place, away.reason) == (2, 1, "refused")
    assert "quarantined: session_event_sequence" in away.detail


async def test_a_row_that_is_larger_than_a_request_is_turned_away_unsent(double: TinybirdDouble):
    async with client_of(double, request_max_bytes=1_000) as client:
        outcome = await client.send_rows("events_v1", [b"{}", b'"%s"' % (b"x" * 2_000), b"{}"])
    assert [(row.place, row.reason) for row in outcome.turned_away] == [(1, "oversized")]
    assert double.rows("events_v1") == [b"{}", b"{}"]


async def test_the_status_of_a_wrong_token_is_not_retried_by_those_who_wait(double: TinybirdDouble):
    double.answers += [status(403, "no")] * 4
    async with asyncio.timeout(PATIENCE_SECONDS), client_of(double) as client:
        results = await asyncio.gather(
            *(client.send_rows("events_v1", [b"{}"]) for _ in range(4)), return_exceptions=True
        )
    assert all(isinstance(result, ConfigurationError) for result in results)
    assert len(double.requests) == 4
