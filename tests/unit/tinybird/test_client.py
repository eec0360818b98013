"""The Tinybird client over a real socket: what it sends, and what it does about each answer."""

import pytest
from structlog.testing import capture_logs

from tests.fixtures.tinybird_double import TOKEN, TinybirdDouble, reset_before_answer, status
from tracker.errors import ConfigurationError
from tracker.tinybird_clients import tinybird_client

ROWS = [b'{"n":1}', b'{"n":2}', b'{"n":3}']


async def test_rows_arrive_as_they_are_and_are_counted(double: TinybirdDouble):
    async with tinybird_client(double.settings()) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 3
    assert double.rows("events_v1") == ROWS


async def test_one_connection_carries_request_after_request(double: TinybirdDouble):
    async with tinybird_client(double.settings()) as client:
        for _ in range(5):
            await client.send_rows("events_v1", ROWS)
    assert len(double.requests) == 5
    assert len({request.peer for request in double.requests}) == 1


@pytest.mark.usefixtures("without_waits")
@pytest.mark.parametrize("code", [202, 429, 500, 502, 503, 504])
async def test_what_may_not_be_written_is_sent_again_byte_for_byte(double: TinybirdDouble, code: int):
    double.answers += [status(code), status(code), status(code)]
    async with tinybird_client(double.settings()) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 3
    assert len(double.requests) == 4
    assert len({request.body for request in double.requests}) == 1


@pytest.mark.usefixtures("without_waits")
async def test_a_connection_reset_before_or_after_the_write_is_a_retry(double: TinybirdDouble):
    double.answers += [reset_before_answer(), reset_before_answer(double), reset_before_answer()]
    async with tinybird_client(double.settings()) as client:
        assert (await client.send_rows("events_v1", ROWS)).written_rows == 3
    # Written twice, as happens with an ack that is lost; the copies have the same id and collapse.
    assert double.rows("events_v1") == ROWS + ROWS
    assert len({request.body for request in double.requests}) == 1


async def test_a_rate_limit_is_waited_out_as_long_as_the_server_says(double: TinybirdDouble):
    double.answers.append(status(429, Retry_After="1", X_RateLimit_Reset="1"))
    async with tinybird_client(double.settings()) as client:
        await client.send_rows("events_v1", ROWS)
    limited, taken = double.requests
    assert taken.at_seconds - limited.at_seconds >= 1


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_a_wrong_token_or_datasource_stops_at_once(double: TinybirdDouble, code: int):
    double.answers.append(status(code, "no"))
    async with tinybird_client(double.settings()) as client:
        with pytest.raises(ConfigurationError, match=r"TRACKER_TINYBIRD_TOKEN|tinybird/datasources"):
            await client.send_rows("events_v1", ROWS)
    assert len(double.requests) == 1


@pytest.mark.usefixtures("without_waits")
async def test_the_token_is_in_no_log_and_no_error(double: TinybirdDouble):
    double.answers += [reset_before_answer(), status(503), status(403)]
    async with tinybird_client(double.settings()) as client:
        with capture_logs() as logs, pytest.raises(ConfigurationError) as raised:
            await client.send_rows("events_v1", ROWS)
    assert logs
    assert TOKEN not in repr(logs)
    assert TOKEN not in str(raised.value)
