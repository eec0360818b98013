"""What each answer of Tinybird's Events API means to the sink."""

import pytest

from tracker.errors import ConfigurationError
from tracker.tinybird.answers import (
    IngestResult,
    RateLimit,
    RowsRefused,
    RowsTooLarge,
    TinybirdUnavailable,
    read_answer,
    read_rate_limit,
    read_wait,
)


def test_only_a_200_with_its_counts_means_written():
    assert read_answer(200, None, '{"successful_rows":3,"quarantined_rows":1}') == IngestResult(3, 1)


@pytest.mark.parametrize("body", ["", "OK", "{}", "[]", "null", '{"successful_rows":3}', "<html></html>"])
def test_a_200_without_row_counts_is_not_believed(body: str):
    with pytest.raises(TinybirdUnavailable):
        read_answer(200, None, body)


@pytest.mark.parametrize("status", [202, 408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(status: int):
    with pytest.raises(TinybirdUnavailable):
        read_answer(status, None, '{"successful_rows":3,"quarantined_rows":0}')


def test_the_server_says_how_long_to_wait():
    with pytest.raises(TinybirdUnavailable) as raised:
        read_answer(429, "7", "")
    assert raised.value.retry_after_seconds == 7


@pytest.mark.parametrize("retry_after", [None, "", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "inf", "nan", "-1", "0"])
def test_a_wait_that_makes_no_sense_leaves_it_to_our_own_backoff(retry_after: str | None):
    with pytest.raises(TinybirdUnavailable) as raised:
        read_answer(429, retry_after, "")
    assert raised.value.retry_after_seconds is None


def test_a_server_can_not_ask_for_more_patience_than_the_limit():
    with pytest.raises(TinybirdUnavailable) as raised:
        read_answer(503, "86400", "")
    assert raised.value.retry_after_seconds == 120


@pytest.mark.parametrize("status", [400, 422])
def test_refused_rows_come_with_tinybirds_own_reason(status: int):
    with pytest.raises(RowsRefused, match="line 7"):
        read_answer(status, None, '{"error":"line 7 is not JSON"}')


def test_too_many_bytes_are_to_be_split():
    with pytest.raises(RowsTooLarge):
        read_answer(413, None, "")


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "TRACKER_TINYBIRD_TOKEN"), (403, "DATASOURCE:APPEND"), (404, "tinybird/datasources")],
)
def test_what_the_operator_has_to_fix_is_said(status: int, advice: str):
    with pytest.raises(ConfigurationError, match=advice):
        read_answer(status, None, "")


def test_an_error_says_why_and_nothing_else():
    errors = (TinybirdUnavailable("no answer", 7), RowsRefused("line 7"), RowsTooLarge("413"))
    assert [str(error) for error in errors] == ["no answer", "line 7", "413"]


@pytest.mark.parametrize(("status", "is_throttling"), [(429, True), (408, False), (425, False), (500, False)])
def test_only_too_many_requests_mean_that_we_are_too_fast(status: int, is_throttling: bool):
    with pytest.raises(TinybirdUnavailable) as raised:
        read_answer(status, None, "")
    assert raised.value.is_throttling is is_throttling


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1.5"}, RateLimit(3, 1.5)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, RateLimit(0, 0)),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "100000"}, RateLimit(3, 120)),
        ({"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "1"}, None),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "-1"}, None),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "inf"}, None),
        ({"X-RateLimit-Remaining": "3"}, None),
        ({"X-RateLimit-Reset": "3"}, None),
        ({"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "1"}, None),
        ({}, None),
    ],
)
def test_the_headers_say_what_is_left_or_nothing_is_believed(headers: dict[str, str], limit: RateLimit | None):
    assert read_rate_limit(headers) == limit


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"Retry-After": "3", "X-RateLimit-Reset": "9"}, "3"), ({"X-RateLimit-Reset": "9"}, "9"), ({}, None)],
)
def test_the_wait_is_that_of_retry_after_or_until_the_limit_is_reset(headers: dict[str, str], wait: str | None):
    assert read_wait(headers) == wait
