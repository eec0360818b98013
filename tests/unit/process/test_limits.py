"""Settings that would break a promise are refused."""

import pytest
from pydantic import ValidationError

from topics.catalog import MIN_COMPACTION_LAG_MS
from topics.session import MAX_TIMEOUT_SECONDS
from tracker.kafka.clients import never_give_up, new_producer
from tracker.sessions.rules import Rules
from tracker.settings import Settings


def test_no_open_session_may_be_silent_for_as_long_as_stale_writes_are_kept():
    assert Settings(session_timeout_seconds=MAX_TIMEOUT_SECONDS).session_timeout_ms < MIN_COMPACTION_LAG_MS
    with pytest.raises(ValidationError):
        Settings(session_timeout_seconds=MAX_TIMEOUT_SECONDS + 1)


def test_a_forgotten_key_keeps_its_offset_for_as_long_as_stale_writes_are_kept():
    assert Rules().forgotten_retention_ms >= MIN_COMPACTION_LAG_MS


async def test_a_batch_of_the_processor_does_not_expire():
    producer = never_give_up(new_producer(Settings(), "test"))
    builder = producer.create_batch()
    builder.append(timestamp=None, key=b"k", value=b"v")
    batch = producer._message_accumulator._append_batch(builder, ("t", 0))
    batch._ctime -= 10 * 365 * 86_400
    assert not batch.expired()
