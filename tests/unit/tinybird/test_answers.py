"""What each answer of Tinybird's Events API means to the sink."""

import pytest

from tracker.errors import ConfigurationError
from tracker.tinybird.answers import IngestResult, RowsRefused, RowsTooLarge, TinybirdUnavailable, read_answer


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


@pytest.mark.parametrize("retry_after", [None, "", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_wait_that_is_no_number_leaves_it_to_our_own_backoff(retry_after: str | None):
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
