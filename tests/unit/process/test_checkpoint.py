"""A chunk goes through its steps in the one order that loses and doubles nothing, or none of it counts."""

import orjson
import pytest
from aiokafka.errors import KafkaTimeoutError

from tests.sessions_log import MINUTE_MS, START_MS, rows
from tests.simulation.broker import CHANGELOG_TOPIC, PREFIX
from tests.unit.process.one_partition import FLOODS, NUMBER, TP, OnePartition, partition_test
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS
from topics.headers import SOURCE_TIME_MS
from tracker.dead_letters.floods import FloodLimit, TooManyDeadLetters
from tracker.errors import InvariantError
from tracker.process import metrics
from tracker.streaming.chunk import Chunk
from tracker.streaming.lease import Lease

SEQUENCED_TOPIC, SESSIONS_TOPIC, LETTERS_TOPIC = (topic.name(PREFIX) for topic in (SEQUENCED, SESSIONS, DEAD_LETTERS))
OUTPUT_TOPICS = (SEQUENCED_TOPIC, SESSIONS_TOPIC, LETTERS_TOPIC)


def counted(metric) -> float:
    return metric._value.get()


def numbered(partition: OnePartition) -> list[tuple[str, int]]:
    return [(row["event_id"], row["session_event_sequence"]) for row in rows(partition.outputs[SEQUENCED.suffix])]


def keys(records) -> list[bytes]:
    return [record.key for record in records]


def floods() -> list[float]:
    (gauge,) = FLOODS.collect()
    return [sample.value for sample in gauge.samples]


def write_one_of_each(partition: OnePartition) -> None:
    partition.log.event("a", START_MS + 7, event_id="e1")
    partition.log.event("a", START_MS + 9, event_id="e2")
    partition.log.raw(b"a", b"{}", START_MS + 9)


async def a_checkpointed_chunk(partition: OnePartition) -> None:
    await partition.open_lease()
    write_one_of_each(partition)
    await partition.checkpoint_next()


@partition_test()
async def test_all_that_a_chunk_gives_goes_to_its_topic_and_its_states_to_changelog_and_store(partition):
    await a_checkpointed_chunk(partition)
    assert numbered(partition) == [("e1", 1), ("e2", 2)]
    assert [row["close_reason"] for row in rows(partition.outputs[SESSIONS.suffix])] == [""]
    assert [row["source_offset"] for row in rows(partition.outputs[DEAD_LETTERS.suffix])] == [2]
    lease = partition.lease
    assert keys(partition.changelog)[0] == b"a"
    assert len(partition.changelog) == 2
    assert (lease.watermark, lease.store.watermark()[0], lease.store.position) == (2, 2, 2)
    assert lease.store.get(b"a") == partition.changelog[0].value
    assert (lease.open_sessions, lease.contested) == (1, False)


@partition_test()
async def test_the_first_output_of_a_chunk_says_when_its_oldest_record_came(partition):
    await a_checkpointed_chunk(partition)
    found = [
        [dict(record.headers).get(SOURCE_TIME_MS) for record in partition.written(topic)] for topic in OUTPUT_TOPICS
    ]
    assert found == [[b"%d" % (START_MS + 7), None], [b"%d" % (START_MS + 7)], [None]]


@partition_test()
async def test_what_a_chunk_has_changed_is_looked_up_from_memory(partition):
    await a_checkpointed_chunk(partition)
    partition.lease.store.close()
    partition.lease.store._db = None
    assert partition.lease.table.lookup(b"a").state.sequence == 2


@partition_test()
async def test_chunks_follow_each_other_and_sessions_that_close_are_not_counted_any_more(partition):
    await a_checkpointed_chunk(partition)
    partition.log.event("b", START_MS + 10)
    partition.log.expire("a", START_MS + 11)
    await partition.checkpoint_next()
    assert (partition.lease.watermark, partition.lease.open_sessions, partition.lease.known_sessions) == (4, 1, 2)
    assert partition.lease.store.position == len(partition.changelog) == 5


@partition_test(closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=MINUTE_MS)
async def test_a_row_that_is_gone_is_not_known_any_more(partition):
    await partition.open_lease()
    partition.log.event("a")
    partition.log.expire("a")
    partition.log.event("renewed", START_MS + 2)
    partition.log.expire("renewed", START_MS + 2)
    partition.log.event("renewed", START_MS + 2)
    await partition.checkpoint_next()
    assert partition.lease.known_sessions == 2
    partition.log.tick(START_MS + MINUTE_MS + 1)  # the stub is forgotten: its row still says so
    await partition.checkpoint_next()
    assert partition.lease.known_sessions == 2
    partition.log.tick(START_MS + 2 * MINUTE_MS + 2)
    await partition.checkpoint_next()
    assert partition.lease.known_sessions == 1


@partition_test()
async def test_every_chunk_is_counted_with_what_it_held(partition):
    before = [counted(metrics.CHUNKS), counted(metrics.RECORDS.labels("events")), counted(metrics.SESSIONS_OPENED)]
    await a_checkpointed_chunk(partition)
    after = [counted(metrics.CHUNKS), counted(metrics.RECORDS.labels("events")), counted(metrics.SESSIONS_OPENED)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2, 1]


@pytest.mark.parametrize("begin", [0, 2])
def test_a_chunk_that_does_not_begin_right_after_w_stops_everything(begin):
    partition = OnePartition()

    async def test() -> None:
        await partition.open_lease()
        partition.lease.watermark = 0
        partition.log.event("a")
        chunk = Chunk(partition.lease, partition.log.records, begin, begin + 1)
        with pytest.raises(InvariantError, match=f"begins at {begin}, but W is 0"):
            await partition.checkpoint().run(chunk)
        assert partition.producer.sent_to == []

    partition.run(test)


@partition_test()
async def test_a_lease_of_another_stage_stops_everything(partition):
    with pytest.raises(InvariantError, match="no session lease"):
        await partition.checkpoint().run(Chunk(Lease(TP, 0, 0), [], 0, 1))


@pytest.mark.parametrize("topic", OUTPUT_TOPICS)
@pytest.mark.parametrize("fault", ["refused", "ack lost"])
def test_without_every_outputs_ack_no_state_is_written_anywhere(topic, fault):
    partition = OnePartition()

    async def test() -> None:
        await partition.open_lease()
        write_one_of_each(partition)
        partition.producer.faults[topic] = [fault]
        with pytest.raises(KafkaTimeoutError):
            await partition.checkpoint_next()
        assert partition.producer.struck[fault] == 1
        assert partition.changelog == []
        lease = partition.lease
        assert (lease.watermark, lease.store.position, dict(lease.store.states())) == (-1, 0, {})
        assert lease.table.lookup(b"a") is None

    partition.run(test)


@pytest.mark.parametrize("fault", ["refused", "ack lost"])
def test_without_the_changelogs_ack_the_store_is_not_written(fault):
    partition = OnePartition()

    async def test() -> None:
        await partition.open_lease()
        write_one_of_each(partition)
        partition.producer.faults[CHANGELOG_TOPIC] = [fault]
        with pytest.raises(KafkaTimeoutError):
            await partition.checkpoint_next()
        assert partition.producer.struck[fault] == 1
        assert len(partition.changelog) == (0 if fault == "refused" else 2)
        assert numbered(partition) == [("e1", 1), ("e2", 2)]
        assert (partition.lease.watermark, partition.lease.store.position) == (-1, 0)
        assert partition.lease.table.lookup(b"a") is None

    partition.run(test)


@partition_test(max_batch_bytes=150)
async def test_a_batch_of_states_that_is_refused_ends_the_chunk_and_none_follows_it(partition):
    await partition.open_lease()
    for key in "abcd":
        partition.log.event(key)
    partition.producer.faults[CHANGELOG_TOPIC] = ["", "refused"]
    with pytest.raises(KafkaTimeoutError):
        await partition.checkpoint_next()
    assert partition.producer.struck["refused"] == 1
    assert 0 < len(partition.changelog) < 5
    assert partition.lease.store.position == 0


@partition_test()
async def test_outputs_are_acked_before_states_are_sent(partition):
    await a_checkpointed_chunk(partition)
    assert partition.producer.sent_to[-1] == CHANGELOG_TOPIC
    assert sorted(partition.producer.sent_to[:-1]) == sorted(OUTPUT_TOPICS)


@pytest.mark.parametrize(
    ("dies_after", "written"),
    [(None, set()), (SEQUENCED_TOPIC, {"outputs"}), (CHANGELOG_TOPIC, {"outputs", "changelog"})],
)
def test_a_lease_that_dies_on_the_way_drops_its_chunk_before_the_next_effect(dies_after, written):
    partition = OnePartition()

    async def test() -> None:
        lease = await partition.open_lease()
        write_one_of_each(partition)
        deaths = []

        def die() -> None:
            deaths.append(dies_after)
            lease.alive = False

        if dies_after is None:
            die()
        else:
            partition.producer.on_ack[dies_after] = die
        before = counted(metrics.CHUNKS_DROPPED)
        await partition.checkpoint_next()
        assert deaths == [dies_after]
        assert counted(metrics.CHUNKS_DROPPED) == before + 1
        found = {"outputs"} if partition.outputs[SEQUENCED.suffix] else set()
        found |= {"changelog"} if partition.changelog else set()
        assert found == written
        assert (lease.watermark, lease.open_sessions, lease.store.position) == (-1, 0, 0)
        assert lease.store.get(b"a") is None
        assert lease.table._cache == {}

    partition.run(test)


@partition_test()
async def test_too_many_letters_stop_the_chunk_before_anything_is_written(partition):
    await partition.open_lease()
    write_one_of_each(partition)
    strict = partition.checkpoint(FloodLimit(window_records=10, min_letters=1, max_percent=1, stops=True))
    with pytest.raises(TooManyDeadLetters):
        await partition.checkpoint_next(strict)
    assert partition.producer.sent_to == []


@partition_test()
async def test_a_flood_of_letters_ends_after_chunks_of_good_records(partition):
    await partition.open_lease()
    checkpoint = partition.checkpoint(FloodLimit(window_records=10, min_letters=2, max_percent=50, stops=False))
    for _ in range(2):
        partition.log.raw(b"a", b"{}")
    await partition.checkpoint_next(checkpoint)
    assert floods() == [2]
    for number in range(10):
        partition.log.event("a", event_id=f"e{number}")
    await partition.checkpoint_next(checkpoint)
    assert floods() == []


class Tracing:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told = []

    def checkpointed(self, records, steps, seconds) -> None:
        self.told.append((len(records), sorted(steps), seconds))


@partition_test()
async def test_tracing_is_told_of_every_chunk_that_counts_and_of_no_other(partition):
    tracing = Tracing()
    checkpoint = partition.checkpoint(tracing=tracing)
    await partition.open_lease()
    write_one_of_each(partition)
    await partition.checkpoint_next(checkpoint)
    ((records, steps, seconds),) = tracing.told
    assert (records, steps) == (3, ["changelog", "fold", "outputs", "store"])
    assert 0 < seconds < 60
    partition.lease.alive = False
    partition.log.event("a")
    await partition.checkpoint_next(checkpoint)
    assert len(tracing.told) == 1


def test_forwarded_records_go_to_their_partition_with_their_time_before_any_state_is_written():
    partition = OnePartition()
    partition.log.partition_of = lambda key: 0 if key == b"elsewhere" else NUMBER

    async def test() -> None:
        source = partition.broker.log(TP.topic, 0)
        source.takes_create_time = True  # as the topic of an import
        await partition.open_lease()
        partition.log.event("elsewhere", START_MS + 5, event_id="e1")
        partition.log.event("a", START_MS + 6, event_id="e2")
        partition.producer.faults[CHANGELOG_TOPIC] = ["refused"]
        with pytest.raises(KafkaTimeoutError):
            await partition.checkpoint_next()
        (forward,) = source.records
        assert (forward.key, forward.timestamp) == (b"elsewhere", START_MS + 5)
        assert dict(forward.headers)["forwarded-from"] == b"1:0"
        assert orjson.loads(forward.value)["data"]["event_id"] == "e1"

    partition.run(test)


@partition_test()
async def test_a_forward_that_is_not_acked_ends_the_chunk(partition):
    partition.log.partition_of = lambda _: 0
    await partition.open_lease()
    partition.log.event("elsewhere")
    partition.producer.faults[TP.topic] = ["refused"]
    with pytest.raises(KafkaTimeoutError):
        await partition.checkpoint_next()
    assert partition.producer.struck["refused"] == 1
    assert partition.changelog == []
