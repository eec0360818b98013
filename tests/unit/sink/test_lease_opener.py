"""A sink goes on at the group's committed offset, and its metadata is what it has seen."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from topics.headers import SourcePosition
from tracker.sink import metrics
from tracker.sink.lease import SinkLease, SinkLeaseOpener
from tracker.sink.positions import NOTHING_SEEN, Committed, read_committed

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
FIRST_ID, SECOND_ID = "a" * 32, "b" * 32


class Thread:
    """What the group and the logs say."""

    def __init__(self, committed: dict, starts: dict) -> None:
        self._committed, self._starts = committed, starts

    async def committed(self, partitions):
        return {tp: self._committed[tp] for tp in partitions if tp in self._committed}

    async def log_starts(self, partitions):
        return {tp: self._starts.get(tp, 0) for tp in partitions}


async def opened(committed: dict, starts: dict | None = None, topic_id: str = "") -> list[SinkLease]:
    thread = Thread(committed, starts or {})
    opener = SinkLeaseOpener(lambda: thread, {ONE.topic: "events_v1"})
    opener.topic_ids = {ONE.topic: topic_id} if topic_id else {}
    return [lease async for lease in opener.open_leases([ONE, OTHER], 7)]


async def test_a_lease_begins_at_what_was_committed_and_knows_what_was_seen():
    one, other = await opened({ONE: OffsetAndMetadata(5, "41:2")})
    assert (one.tp, one.generation, one.next_offset, one.committed_offset) == (ONE, 7, 5, 5)
    assert one.seen.last == SourcePosition(41, 2)
    assert (other.tp, other.next_offset, other.seen.last) == (OTHER, 0, NOTHING_SEEN)


async def test_what_retention_has_deleted_is_skipped_and_counted():
    lost = metrics.LOST.labels("events_v1")._value
    before = lost.get()
    one, other = await opened({ONE: OffsetAndMetadata(5, "41:2")}, {ONE: 9, OTHER: 3})
    assert lost.get() - before == 4
    assert (one.next_offset, one.seen.last) == (9, SourcePosition(41, 2))
    assert (other.next_offset, other.committed_offset) == (3, 3)


async def test_where_retention_has_deleted_up_to_what_was_committed_nothing_is_lost():
    with capture_logs() as logs:
        one, _ = await opened({ONE: OffsetAndMetadata(5, "41:2")}, {ONE: 5})
    assert (one.next_offset, one.seen.last) == (5, SourcePosition(41, 2))
    assert logs == []


@pytest.mark.parametrize("topic_id", ["", FIRST_ID])
async def test_what_a_lease_commits_says_what_was_seen_and_of_which_topic(topic_id: str):
    one, _ = await opened({}, topic_id=topic_id)
    assert read_committed(one.metadata(SourcePosition(7, 1))) == Committed(SourcePosition(7, 1), topic_id)


async def test_an_operator_may_have_committed_without_metadata():
    one, _ = await opened({ONE: OffsetAndMetadata(5, None)})
    assert (one.next_offset, one.seen.last) == (5, NOTHING_SEEN)


@pytest.mark.parametrize("now", ["", FIRST_ID])
async def test_a_topic_that_is_the_same_or_not_known_goes_on_where_it_was(now: str):
    one, _ = await opened({ONE: OffsetAndMetadata(5, f"41:2:{FIRST_ID}")}, topic_id=now)
    assert (one.next_offset, one.seen.last) == (5, SourcePosition(41, 2))


async def test_a_topic_that_was_made_again_is_sent_from_its_beginning():
    one, _ = await opened({ONE: OffsetAndMetadata(5, f"41:2:{FIRST_ID}")}, topic_id=SECOND_ID)
    assert (one.next_offset, one.seen.last) == (0, NOTHING_SEEN)


async def test_a_topic_whose_id_is_learned_goes_on_where_it_was():
    one, _ = await opened({ONE: OffsetAndMetadata(5, "41:2")}, topic_id=FIRST_ID)
    assert (one.next_offset, one.seen.last) == (5, SourcePosition(41, 2))
