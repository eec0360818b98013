"""An event's time is right although its client's clock may be wrong."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.collect.records.event_time import MAX_EVENT_AGE, corrected, parse_time

RECEIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RECEIVED_MS = 1_767_323_045_000


@given(
    skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)), age=st.timedeltas(timedelta(0), timedelta(days=29))
)
def test_an_events_age_survives_whatever_the_clients_clock_says(skew, age):
    sent_at = RECEIVED + skew
    time = parse_time(corrected(sent_at - age, sent_at=sent_at, received_ms=RECEIVED_MS))
    assert abs((RECEIVED - time) - age) < timedelta(milliseconds=1)


@given(timestamp=st.datetimes(timezones=st.just(UTC)))
def test_no_event_is_from_the_future_or_older_than_it_can_be(timestamp):
    time = parse_time(corrected(timestamp, sent_at=datetime(2026, 1, 1, tzinfo=UTC), received_ms=RECEIVED_MS))
    assert RECEIVED - MAX_EVENT_AGE <= time <= RECEIVED


@pytest.mark.parametrize("text", [None, 5, "", "soon", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_none(text):
    assert parse_time(text) is None
