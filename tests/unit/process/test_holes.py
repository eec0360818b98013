"""Another worker wrote to our changelog: what it wrote is read and merged, and what is in memory follows."""

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from msgspec import structs

from tests.sessions_log import MINUTE_MS, START_MS, rows
from tests.simulation.broker import CHANGELOG_TOPIC
from tests.unit.process.one_partition import OnePartition, partition_test
from tests.unit.process.test_checkpoint import counted
from topics.headers import SOURCE_OFFSET
from tracker.kafka.clients import RETRY_SECONDS
from tracker.process import metrics
from tracker.process.ticks import is_due
from tracker.sessions.layouts import encode_state
from tracker.table.store import Row, row_of


async def begun(partition: OnePartition, *names: str) -> None:
    """A lease with a session of each name, checkpointed once."""
    await partition.open_lease()
    for name in names:
        partition.log.event(name, event_id=f"{name}-1")
    await partition.checkpoint_next()


def state_row(partition: OnePartition, key: bytes, offset: int, sequence: int, **changes) -> Row:
    """A state as another worker has it."""
    state = partition.lease.table.lookup(key)
    assert state is not None
    other = structs.replace(state.state, sequence=sequence, **changes)
    return row_of(key, encode_state(offset, other), 0)


def held(partition: OnePartition, key: bytes) -> tuple[int, int]:
    """Offset and number of a session, as the fold looks it up."""
    stored = partition.lease.table.lookup(key)
    return stored.offset, stored.state.sequence


@partition_test()
async def test_a_hole_before_the_chunks_own_rows_is_merged_and_makes_the_lease_contested(partition):
    await begun(partition, "a", "b")
    before = counted(metrics.CHANGELOG_HOLES)
    partition.others_write([state_row(partition, b"b", offset=50, sequence=9)])
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    lease = partition.lease
    assert counted(metrics.CHANGELOG_HOLES) == before + 1
    assert lease.contested
    assert held(partition, b"a") == (2, 2)
    assert held(partition, b"b") == (50, 9)
    assert lease.watermark == 2
    assert lease.store.position == len(partition.changelog)


@partition_test()
async def test_a_state_that_is_ahead_of_ours_wins_over_the_chunks_own_in_store_and_memory(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    assert held(partition, b"a") == (50, 9)
    assert partition.lease.open_sessions == 1


@partition_test()
async def test_a_stale_state_does_not_win_and_its_key_is_written_again_with_the_next_chunk(partition):
    await begun(partition, "a", "b")
    stale = state_row(partition, b"b", offset=1, sequence=1)
    partition.log.event("b", event_id="b-2")
    await partition.checkpoint_next()
    partition.others_write([stale])
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    lease = partition.lease
    assert held(partition, b"b") == (2, 2)
    assert lease.store.overwritten == {b"b"}
    assert is_due(lease, START_MS)  # a tick would mend it
    length = len(partition.changelog)
    partition.log.event("a", event_id="a-3")
    await partition.checkpoint_next()
    again = [record for record in partition.changelog[length:] if record.key == b"b"]
    assert [record.value for record in again] == [lease.store.get(b"b")]
    assert lease.store.overwritten == set()


@partition_test()
async def test_a_contested_leases_next_chunks_are_merged_too(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    position = partition.lease.store.position
    partition.log.event("new", event_id="n-1")
    partition.log.event("a", event_id="a-3")
    await partition.checkpoint_next()
    assert held(partition, b"a") == (50, 9)
    assert held(partition, b"new")[1] == 1
    assert partition.lease.store.position == len(partition.changelog) > position


@partition_test()
async def test_a_contested_lease_counts_on_from_what_its_own_chunks_have_written(partition):
    await begun(partition, "a", "b")
    partition.others_write([state_row(partition, b"b", offset=50, sequence=9)])
    for number in (2, 3, 4):
        partition.log.event("a", event_id=f"a-{number}")
        await partition.checkpoint_next()
    assert partition.lease.contested
    assert held(partition, b"a") == (4, 4)
    numbers = [row["session_event_sequence"] for row in rows(partition.outputs["events.sequenced"])]
    assert numbers == [1, 1, 2, 3, 4]


@partition_test()
async def test_a_contested_lease_does_not_write_over_what_is_ahead_of_it_in_its_store(partition):
    await begun(partition, "a")
    partition.lease.contested = True
    partition.lease.store.merge([state_row(partition, b"a", offset=50, sequence=9)], len(partition.changelog))
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    assert held(partition, b"a") == (50, 9)


@partition_test()
async def test_what_is_to_be_written_again_is_written_once_with_the_offset_of_a_removal_in_its_headers(partition):
    await begun(partition, "a", "b")
    assert not partition.lease.contested
    partition.lease.store.overwritten = {b"b", b"gone"}
    length = len(partition.changelog)
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    partition.log.event("a", event_id="a-3")
    await partition.checkpoint_next()
    found = [(record.key, record.value is None, dict(record.headers)) for record in partition.changelog[length:]]
    assert [one for one in found if one[0] in (b"b", b"gone")] == [
        (b"b", False, {}),
        (b"gone", True, {SOURCE_OFFSET: b"1"}),
    ]
    assert all(not headers for _, is_removal, headers in found if not is_removal)
    assert partition.lease.store.overwritten == set()


@partition_test(max_batch_bytes=150)
async def test_a_hole_between_two_of_a_chunks_batches_is_found(partition):
    await begun(partition, "a", "b", "c", "d")
    foreign = state_row(partition, b"d", offset=50, sequence=9)
    sent = []

    def write_in_between() -> None:
        if not sent:
            sent.append(foreign)
            partition.others_write([foreign])

    partition.producer.on_ack[CHANGELOG_TOPIC] = write_in_between
    for name in "abc":
        partition.log.event(name, event_id=f"{name}-2")
    await partition.checkpoint_next()
    assert sent == [foreign]
    assert partition.lease.contested
    assert held(partition, b"d") == (50, 9)
    assert [held(partition, name)[1] for name in (b"a", b"b", b"c")] == [2, 2, 2]


@partition_test()
async def test_a_batch_whose_place_is_not_told_is_read_back(partition):
    await begun(partition, "a")
    partition.producer.faults[CHANGELOG_TOPIC] = ["place not told"]
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    assert partition.producer.struck["place not told"] == 1
    assert partition.lease.contested
    assert held(partition, b"a") == (1, 2)
    assert partition.lease.store.position == len(partition.changelog)


@partition_test()
async def test_a_session_that_is_known_only_by_a_merge_is_closed_at_its_deadline(partition):
    await begun(partition, "a")
    partition.others_write([(b"b", 50, state_row(partition, b"a", 50, 9, last_activity_ms=START_MS - MINUTE_MS)[2])])
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    # The other worker has its deadline a minute before ours.
    assert partition.lease.fold.deadlines.next_ms == START_MS + 29 * MINUTE_MS


@partition_test()
async def test_a_session_that_another_worker_closes_sooner_is_closed_then(partition):
    await begun(partition, "a", "b")
    assert partition.lease.fold.deadlines.next_ms == START_MS + 30 * MINUTE_MS
    partition.others_write([state_row(partition, b"a", 50, 9, last_activity_ms=START_MS - MINUTE_MS)])
    partition.log.event("b", event_id="b-2")
    await partition.checkpoint_next()
    assert partition.lease.fold.deadlines.next_ms == START_MS + 29 * MINUTE_MS


@partition_test()
async def test_a_session_that_is_merged_over_and_over_keeps_the_entries_of_its_deadline(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=0, sequence=1)])
    sizes = []
    for number in range(2, 6):
        partition.log.event("a", event_id=f"a-{number}")
        await partition.checkpoint_next()
        sizes.append(partition.lease.fold.deadlines.distant_bytes)
    assert partition.lease.contested
    assert sizes[0] == sizes[-1] > 0


@partition_test()
async def test_a_removal_by_somebody_else_is_forgotten_in_memory_too(partition):
    await begun(partition, "a", "b")
    partition.broker.log(CHANGELOG_TOPIC, 1).append([(b"b", None, (("source-offset", b"50"),))], START_MS)
    partition.log.event("a", event_id="a-2")
    await partition.checkpoint_next()
    assert partition.lease.table.lookup(b"b") is None


def test_pages_of_event_ids_that_somebody_else_wrote_are_read_again():
    """The ids are known in memory from the session's last event on; the other worker has taken one more."""
    one, other = OnePartition(page_events=1), OnePartition(page_events=1)
    for partition in (one, other):
        for event_id in ("a-1", "a-2"):
            partition.log.event("a", event_id=event_id)
    other.log.event("a", event_id="a-3")

    async def elsewhere() -> None:
        await other.open_lease()
        await other.checkpoint_next()

    async def test() -> None:
        await one.open_lease()
        await one.checkpoint_next()
        one.others_write([row_of(record.key, record.value, 0) for record in other.changelog])
        one.log.event("a", event_id="a-2")
        await one.checkpoint_next()
        assert one.lease.contested
        before = len(one.outputs["events.sequenced"])
        for event_id in ("a-3", "a-4"):
            one.log.event("a", event_id=event_id)
        await one.checkpoint_next()
        new = rows(one.outputs["events.sequenced"][before:])
        assert [(row["event_id"], row["session_event_sequence"]) for row in new] == [("a-4", 4)]

    other.run(elsewhere)
    one.run(test)


@partition_test()
async def test_the_changelog_is_read_again_when_that_fails_for_a_while(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])
    partition.reader_errors.extend([KafkaTimeoutError(), KafkaTimeoutError()])
    partition.log.event("a", event_id="a-2")
    began = partition.env.loop.time()
    await partition.checkpoint_next()
    assert 2 * RETRY_SECONDS < partition.env.loop.time() - began < 3 * RETRY_SECONDS
    assert partition.reader_errors == []
    assert partition.readers == 3
    assert held(partition, b"a") == (50, 9)


@partition_test()
async def test_an_error_that_does_not_pass_is_raised_and_the_chunk_does_not_count(partition):
    await begun(partition, "a")
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])
    partition.reader_errors.append(TopicAuthorizationFailedError())
    partition.log.event("a", event_id="a-2")
    with pytest.raises(TopicAuthorizationFailedError):
        await partition.checkpoint_next()
    assert partition.lease.watermark == 0


@partition_test()
async def test_a_lease_that_dies_while_the_hole_is_read_touches_its_store_no_more(partition):
    await begun(partition, "a")
    lease = partition.lease
    partition.others_write([state_row(partition, b"a", offset=50, sequence=9)])

    partition.log.event("a", event_id="a-2")
    before = lease.store.position
    partition.reader_errors.append(KafkaTimeoutError())
    original = partition.reader

    def reader():
        if partition.readers == 1:
            lease.alive = False
        return original()

    partition.reader = reader
    await partition.checkpoint_next()
    assert partition.readers == 2
    assert (lease.store.position, lease.watermark) == (before, 0)
