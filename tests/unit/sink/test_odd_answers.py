"""Answers and records that nobody should send, and that somebody will."""

import asyncio

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.fixtures.tinybird_double import TOKEN, TinybirdDouble, status
from tests.patience import PATIENCE_SECONDS
from tests.unit.sink.sink_records import chunk, lease, output, rows
from tests.unit.sink.test_pipeline import Kept, running
from topics.headers import SourcePosition
from tracker.errors import ConfigurationError
from tracker.tinybird.answers import TinybirdUnavailable, read_answer
from tracker.tinybird_clients import tinybird_client

ROWS = [b'{"n":1}', b'{"n":2}']


@pytest.mark.usefixtures("without_waits")
async def test_an_error_page_in_another_encoding_is_a_retry(double: TinybirdDouble):
    async def latin1(_: object) -> web.StreamResponse:
        return web.Response(status=503, body=b"indispon\xedvel", content_type="text/html")

    double.answers.append(latin1)
    async with tinybird_client(double.settings()) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 2


@pytest.mark.usefixtures("without_waits")
async def test_rows_that_the_answer_does_not_count_are_sent_again(double: TinybirdDouble):
    async def counts_one(_: object) -> web.StreamResponse:
        return web.json_response({"successful_rows": 1, "quarantined_rows": 0})

    double.answers.append(counts_one)
    async with tinybird_client(double.settings()) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 2
    assert len(double.requests) == 2


@pytest.mark.usefixtures("without_waits")
@pytest.mark.parametrize("code", [503, 403])
async def test_a_token_that_the_server_repeats_reaches_no_log(double: TinybirdDouble, code: int):
    double.answers += [status(code, f"token {TOKEN} is bad"), status(403)]
    async with tinybird_client(double.settings()) as client:
        with capture_logs() as logs, pytest.raises(ConfigurationError) as raised:
            await client.send_rows("events_v1", ROWS)
    assert TOKEN not in repr(logs) + str(raised.value)


@pytest.mark.parametrize("code", [301, 405])
async def test_an_answer_that_is_not_tinybirds_stops_and_names_the_setting(double: TinybirdDouble, code: int):
    double.answers.append(status(code, Location="/elsewhere"))
    async with tinybird_client(double.settings()) as client, asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(ConfigurationError, match="TRACKER_TINYBIRD_URL"):
            await client.send_rows("events_v1", ROWS)


async def test_an_address_without_a_scheme_stops_and_names_the_setting(double: TinybirdDouble):
    # The settings refuse it, too; a library's user may have settings of another kind.
    settings = double.settings().model_copy(update={"tinybird_url": "api.example.com"})
    async with tinybird_client(settings) as client:
        with pytest.raises(ConfigurationError, match="TRACKER_TINYBIRD_URL"):
            await client.send_rows("events_v1", ROWS)


async def test_a_token_with_a_newline_at_its_end_works(double: TinybirdDouble):
    async with tinybird_client(double.settings(tinybird_token=f"{TOKEN}\n")) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 2


@pytest.mark.parametrize(("header", "seconds"), [("-5", None), ("nan", None), ("x", None), ("2", 2.0), ("1e9", 120.0)])
def test_only_a_sensible_wait_is_obeyed(header: str, seconds: float | None):
    with pytest.raises(TinybirdUnavailable) as raised:
        read_answer(429, header, "")
    assert raised.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("value", "reason"), [(b"", "empty_value"), (None, "empty_value"), (b'{"a":1}\n{"a":2}', "invalid")]
)
async def test_a_record_that_is_no_row_is_a_dead_letter_and_its_neighbours_are_written(
    double: TinybirdDouble, value: bytes | None, reason: str
):
    kept = Kept()
    odd = output(1, SourcePosition(1, 0), value)
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), [*rows(1), odd, *rows(1, first_offset=2)]))
        await pipeline.flush()
    assert [letter[1] for letter in kept.letters] == [reason]
    assert len(double.rows("events_v1")) == 2
