"""An event's time is right although its client's clock may be wrong, and never far from the present."""

from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.fields import Timestamp
from tracker.collect.records import event_time
from tracker.collect.records.event_time import TimeLimits, is_storable, iso_time, parse_time

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_MS = 1_767_323_045_000
LIMITS = TimeLimits(max_age_seconds=86_400, max_ahead_seconds=300)
DAY, AHEAD = timedelta(days=1), timedelta(minutes=5)


def ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(
    skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)), age=st.timedeltas(timedelta(0), timedelta(hours=23))
)
def test_an_events_age_survives_whatever_the_clients_clock_says(skew, age):
    sent_at = NOW + skew
    time_ms = parse_time(LIMITS.corrected(ms(sent_at - age), ms(sent_at), NOW_MS))
    assert abs((NOW_MS - time_ms) - age / timedelta(milliseconds=1)) < 1


@given(timestamp=st.datetimes(timezones=st.just(UTC)))
def test_no_event_is_from_the_future_or_older_than_it_can_be(timestamp):
    time_ms = parse_time(LIMITS.corrected(ms(timestamp), ms(datetime(2026, 1, 1, tzinfo=UTC)), NOW_MS))
    assert ms(NOW - DAY) <= time_ms <= NOW_MS


@given(
    time=st.timedeltas(timedelta(days=-9_000), timedelta(days=26_000)).map(lambda away: NOW + away),
    text=st.sampled_from(["%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S.%f", "%Y%m%dT%H%M%SZ"]),
)
def test_a_clients_time_is_kept_or_moved_to_the_end_of_the_range(time, text):
    said = time.strftime(text)
    kept = LIMITS.clamped(said, parse_time(said), NOW_MS)
    if time.replace(microsecond=0) >= NOW - DAY and time <= NOW + AHEAD:
        assert kept == said
    else:
        assert ms(NOW - DAY) - 1_000 <= parse_time(kept) <= ms(NOW + AHEAD) + 1_000


@pytest.mark.parametrize("hours", [-48, -25, -24.001, 0.09, 24, 480_000])
def test_times_of_other_zones_are_compared_as_times(hours):
    time = (NOW + timedelta(hours=hours)).astimezone(timezone(timedelta(hours=5, minutes=30)))
    ends = iso_time(NOW_MS - 86_400_000), iso_time(NOW_MS + 300_999)
    assert LIMITS.clamped(time.isoformat(), ms(time), NOW_MS) in ends


@pytest.mark.parametrize("text", ["2026-01-01T03:04:05Z", "2026-01-02T03:09:05.999+00:00"])
def test_a_time_at_the_end_of_the_range_is_kept_as_it_was_written(text):
    assert LIMITS.clamped(text, parse_time(text), NOW_MS) is text


@pytest.mark.parametrize(
    ("age_ms", "counted_ms"),
    [(-1, 0), (-86_400_000, 0), (0, 0), (1, 1), (86_400_000, 86_400_000), (86_400_001, 86_400_000)],
)
def test_an_age_counts_from_none_to_the_limit(age_ms, counted_ms):
    assert LIMITS.corrected(NOW_MS, NOW_MS + age_ms, NOW_MS) == iso_time(NOW_MS - counted_ms)


def test_a_time_that_no_record_can_have_is_left_for_the_check():
    assert LIMITS.clamped("1999-12-31T23:59:59Z", parse_time("1999-12-31T23:59:59Z"), NOW_MS) == "1999-12-31T23:59:59Z"


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "",
        "soon",
        "2026-13-01T00:00:00Z",
        "2026-13-01T00:00:00.000Z",
        "AAAA-BB-CCTDD:EE:FF.GGGZ",
        "20260102T030405.123.000Z",
        "2026-01-02T03:04:05.+12Z",
        "2026-01-02T03:04:05.1_2Z",
        "2026-01-02T03:04:05.\u0661\u0662\u0663Z",
    ],
)
def test_what_is_no_time_is_none(text):
    assert parse_time(text) is None


@given(time=st.timedeltas(timedelta(days=-40_000), timedelta(days=60_000)).map(lambda away: NOW + away))
def test_a_time_is_the_same_in_all_its_forms(time):
    texts = {time.isoformat("T", "milliseconds")[:23] + "Z", iso_time(ms(time)), time.isoformat()}
    assert {parse_time(text) for text in texts} == {ms(time)}


def test_the_contract_says_which_times_can_be_stored():
    field = get_args(Timestamp)[1]
    (oldest,), (end,) = (
        [getattr(limit, name) for limit in field.metadata if hasattr(limit, name)] for name in ("ge", "lt")
    )
    assert (oldest, end) == (event_time._OLDEST, event_time._END)
    millisecond = timedelta(milliseconds=1)
    assert [is_storable(ms(time)) for time in (oldest - millisecond, oldest, end - millisecond, end)] == [
        False,
        True,
        True,
        False,
    ]
