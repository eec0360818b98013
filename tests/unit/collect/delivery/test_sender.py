"""The sender: what it hands to the Kafka producer and when, and what becomes of a batch that is refused."""

import asyncio
import random
import time

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import (
    BATCH_RECORDS,
    PARTITIONS,
    Builder,
    FaultyKafka,
    key_of,
    until,
)
from tests.virtual_time import new_environment, run_virtually
from tracker.collect.delivery import sender as sender_module
from tracker.collect.delivery.handover import BatchEvent, BatchState
from tracker.collect.delivery.record_batch import NO_HEADERS, PendingBatch, TopicRecord
from tracker.collect.delivery.sender import BatchSender
from tracker.collect.metrics import CollectMetrics
from tracker.collect.spill.store import SpilledRecord
from tracker.errors import InvariantError
from tracker.processes.supervised_tasks import SupervisedTasks

TOPIC = "test.events"
LONG_SECONDS = 3_600.0


def record(value: str, partition: int = 0) -> TopicRecord:
    return TOPIC, key_of(partition).encode(), value.encode()


class Setup:
    """A sender on a broker that answers, or is silent when a test says so."""

    def __init__(self, ack_timeout_seconds: float = LONG_SECONDS) -> None:
        self.kafka = FaultyKafka(random.Random(1))
        self.kafka.max_latency_seconds = 0.0
        self.producer = self.kafka.make_producer()
        self.metrics = CollectMetrics().delivery
        self.tasks = SupervisedTasks()
        self.troubles: list[str] = []
        self.sender = BatchSender(
            self.producer,
            self.metrics,
            self.tasks,
            ack_timeout_seconds=ack_timeout_seconds,
            on_trouble=self.troubles.append,
        )
        self.sender.learn(TOPIC, PARTITIONS)

    def add(self, *records: TopicRecord) -> list[asyncio.Future[None]]:
        return self.sender.add(records, NO_HEADERS)

    def logged(self, partition: int = 0) -> list[bytes]:
        return [value for _, value in self.kafka.log[partition]]

    @property
    def unsettled(self) -> float:
        return self.metrics.records_unsettled._value.get()

    async def handed_over(self, batches: int) -> None:
        """Wait until the silent broker has so many batches to answer."""
        await until(lambda: len(self.kafka.pending) == batches)

    async def add_unanswered(self, *records: TopicRecord) -> list[asyncio.Future[None]]:
        """Add records, one for each partition, and let the broker be silent about them."""
        self.kafka.is_silent = True
        batches = self.add(*records)
        await self.handed_over(len(batches))
        return batches


async def end(*batches: "asyncio.Future[None]") -> None:
    await asyncio.wait_for(asyncio.wait(batches), PATIENCE_SECONDS)


async def test_records_that_come_together_share_a_batch_and_one_future():
    setup = Setup()
    first = setup.add(record("a"), record("b"), record("other", partition=1))
    second = setup.add(record("c"))
    assert len(first) == 2
    assert second == first[:1]
    assert setup.producer.mine == []
    await end(*first)
    assert setup.logged() == [b"a", b"b", b"c"]
    assert setup.logged(1) == [b"other"]
    assert sorted(len(batch.records) for batch in setup.producer.mine) == [1, 3]


async def test_records_of_one_session_go_to_the_topics_that_they_name():
    """As in a migration, which sends some of them twice."""
    setup = Setup()
    setup.sender.learn("test.other", PARTITIONS)
    key = key_of(1).encode()
    topics = [TOPIC, "test.other", TOPIC, "test.other"]
    await end(*setup.add(*((topic, key, b"%d" % number) for number, topic in enumerate(topics))))
    assert {batch.topic: [value for _, value in batch.records] for batch in setup.producer.mine} == {
        TOPIC: [b"0", b"2"],
        "test.other": [b"1", b"3"],
    }
    assert {batch.partition for batch in setup.producer.mine} == {1}
    setup.sender.hold()
    setup.add((TOPIC, key, b"4"), ("test.other", key, b"5"))
    assert [batch.records[0][2] for batch in setup.sender.take_back()] == [b"4", b"5"]


async def test_headers_go_with_each_record_of_their_request():
    setup = Setup()
    headers = [("traceparent", b"00-1")]
    batches = setup.sender.add([record("a"), record("b")], headers)
    assert setup.sender.add([record("c")], NO_HEADERS) == batches
    await end(*batches)
    (sent,) = setup.producer.mine
    assert sent.headers == [headers, headers, []]


async def test_each_moment_has_its_own_batch():
    setup = Setup()
    await end(*setup.add(record("a")))
    await end(*setup.add(record("b")))
    assert setup.logged() == [b"a", b"b"]


async def test_the_next_batch_of_a_partition_waits_for_the_one_before_and_other_partitions_do_not():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    setup.add(record("b"), record("other", partition=1))
    await setup.handed_over(2)
    assert [batch.partition for batch in setup.kafka.pending] == [0, 1]
    setup.kafka.wake()
    await until(lambda: setup.logged() == [b"a", b"b"])


async def test_a_full_batch_is_followed_by_another_in_the_order_of_the_records():
    setup = Setup()
    values = [b"%d" % number for number in range(BATCH_RECORDS + 1)]
    batches = setup.add(*((TOPIC, key_of(0).encode(), value) for value in values))
    assert len(batches) == 2
    await end(*batches)
    assert setup.logged() == values


async def test_a_record_that_does_not_fit_an_empty_batch_is_a_bug(monkeypatch):
    setup = Setup()
    monkeypatch.setattr(Builder, "append", lambda *_, **__: None)
    with pytest.raises(InvariantError, match="empty batch"):
        setup.add(record("a"))
    with pytest.raises(InvariantError, match="empty batch"):
        await setup.sender.send([spilled("a")])


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNSETTLED_RECORDS", 2), ("MAX_UNSETTLED_BYTES", 2 * 5)])
async def test_it_is_full_at_its_limit_of_records_and_of_bytes_until_kafka_has_answered(monkeypatch, limit, value):
    monkeypatch.setattr(sender_module, limit, value)
    setup = Setup()
    setup.kafka.is_silent = True
    assert not setup.sender.is_full
    setup.add((TOPIC, b"key", b"va"))
    assert not setup.sender.is_full
    setup.add((TOPIC, b"key", b"va"))
    assert setup.sender.is_full
    await setup.handed_over(1)
    assert setup.unsettled == 2
    setup.kafka.wake()
    await asyncio.wait_for(setup.sender.settled(), PATIENCE_SECONDS)
    assert not setup.sender.is_full
    assert setup.unsettled == 0
    setup.add((TOPIC, b"key", b"va"))
    assert not setup.sender.is_full


async def test_what_is_acknowledged_in_time_is_counted_and_timed():
    began = time.monotonic()
    setup = Setup()
    await end(*setup.add(record("a"), record("b")))
    assert setup.metrics.records_acked._value.get() == 2
    assert 0 < setup.metrics.produce_seconds._sum.get() <= time.monotonic() - began


async def test_while_it_holds_it_gathers_and_sends_nothing_until_it_is_released():
    setup = Setup()
    setup.sender.hold()
    batches = setup.add(record("a"))
    await until(lambda: setup.unsettled == 1)
    assert setup.producer.mine == []
    assert setup.sender.take_back()[0].records == [record("a")]

    batches = setup.add(record("b"), record("c", partition=1))
    await until(lambda: setup.unsettled == 2)
    setup.sender.release()
    await end(*batches)
    assert (setup.logged(), setup.logged(1)) == ([b"b"], [b"c"])
    await end(*setup.add(record("d")))
    assert setup.logged() == [b"b", b"d"]


async def test_a_hold_leaves_the_batches_behind_the_one_under_way_where_they_are():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    (second,) = setup.add(record("b"))
    setup.sender.hold()
    setup.kafka.wake()
    await asyncio.wait_for(setup.sender.settled(), PATIENCE_SECONDS)
    assert setup.logged() == [b"a"]
    setup.sender.release()
    await end(second)
    assert setup.logged() == [b"a", b"b"]


def test_a_batch_without_an_answer_in_time_is_trouble_and_one_with_an_answer_is_not():
    async def test() -> None:
        setup = Setup(ack_timeout_seconds=0.02)
        await end(*setup.add(record("a")))
        setup.add(record("b"))
        (taken_back,) = setup.sender.take_back()
        setup.kafka.is_silent = True
        setup.add(record("c"))
        await until(lambda: bool(setup.troubles))
        assert setup.troubles == ["Kafka does not acknowledge"]
        assert taken_back.deadline.cancelled()

    run_virtually(new_environment(), test)


async def test_what_is_taken_back_is_each_partitions_batches_in_order_once():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    setup.add(record("b"), record("c", partition=1))
    setup.sender.hold()
    taken = setup.sender.take_back()
    assert [batch.records[0][2] for batch in taken] == [b"a", b"b", b"c"]
    assert [batch.state for batch in taken] == [BatchState.SENDING, BatchState.WAITING, BatchState.WAITING]
    # The producer goes on trying to send the first.
    assert setup.unsettled == 1
    taken[0].apply(BatchEvent.TAKEN_BACK)
    assert setup.sender.take_back() == []
    setup.kafka.wake()
    await asyncio.wait_for(setup.sender.settled(), PATIENCE_SECONDS)
    assert setup.logged() == [b"a"]
    assert setup.unsettled == 0
    assert taken[0].state is BatchState.ARRIVED
    # Its requests were told about the disk, not about Kafka.
    assert setup.metrics.records_acked._value.get() == 0
    assert setup.metrics.produce_seconds._sum.get() == 0


async def test_a_refused_batch_is_the_first_again_and_nothing_more_is_sent():
    setup = Setup()
    (refused,) = await setup.add_unanswered(record("a"))
    setup.kafka.pending.pop().ack.set_exception(MessageSizeTooLargeError())
    setup.kafka.is_silent = False
    await until(lambda: bool(setup.troubles))
    assert not refused.done()
    assert setup.troubles == ["Kafka refuses: MessageSizeTooLargeError"]
    assert isinstance(setup.sender.broken, MessageSizeTooLargeError)
    setup.add(record("b"))
    setup.add(record("other", partition=1))
    await until(lambda: setup.unsettled == 3)
    with pytest.raises(KafkaError, match="MessageSizeTooLarge"):
        await asyncio.wait_for(setup.sender.settled(), PATIENCE_SECONDS)
    assert len(setup.producer.mine) == 1
    taken = setup.sender.take_back()
    assert [[record[2] for record in batch.records] for batch in taken] == [[b"a"], [b"b"], [b"other"]]
    assert setup.unsettled == 0


async def test_who_takes_everything_back_when_kafka_refuses_gets_the_refused_batch_once():
    setup = Setup()
    taken: list[PendingBatch] = []
    setup.sender._on_trouble = lambda _: taken.extend(setup.sender.take_back())
    await setup.add_unanswered(record("a"), record("other", partition=1))
    setup.add(record("b"))
    setup.kafka.pending[0].ack.set_exception(MessageSizeTooLargeError())
    await until(lambda: bool(taken))
    assert sorted(batch.records[0][2] for batch in taken) == [b"a", b"b", b"other"]
    assert not setup.tasks.failed.done()


async def test_a_batch_that_is_on_disk_when_kafka_refuses_it_is_not_sent_again():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    (batch,) = setup.sender.take_back()
    batch.apply(BatchEvent.TAKEN_BACK)
    batch.apply(BatchEvent.WRITTEN)
    setup.kafka.pending[0].ack.set_exception(MessageSizeTooLargeError())
    await until(lambda: bool(setup.troubles))
    assert batch.state is BatchState.SPILLED
    assert setup.sender.take_back() == []
    assert setup.unsettled == 0


async def test_the_first_refusal_is_the_one_that_is_told():
    setup = Setup()
    await setup.add_unanswered(record("a"), record("b", partition=1))
    first, second = setup.kafka.pending
    first.ack.set_exception(MessageSizeTooLargeError())
    await until(lambda: len(setup.troubles) == 1)
    second.ack.set_exception(KafkaError())
    await until(lambda: len(setup.troubles) == 2)
    assert isinstance(setup.sender.broken, MessageSizeTooLargeError)


async def test_an_error_that_is_not_kafkas_is_reported_as_a_bug():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    setup.kafka.pending[0].ack.set_exception(ValueError("a bug"))
    await asyncio.wait([setup.tasks.failed], timeout=PATIENCE_SECONDS)
    assert repr(setup.tasks.failed.exception()) == "ValueError('a bug')"
    assert setup.troubles == []


def spilled(value: str, partition: int = 0) -> SpilledRecord:
    topic, key, content = record(value, partition)
    return SpilledRecord(accepted_ms=0, topic=topic, key=key, value=content)


async def test_the_spills_records_pass_those_that_wait_and_are_acknowledged_when_it_returns():
    setup = Setup()
    setup.sender.hold()
    (waiting,) = setup.add(record("newer"))
    sent = await setup.sender.send([spilled("a"), spilled("b", partition=1), spilled("c")])
    assert sent == 3
    assert (setup.logged(), setup.logged(1)) == ([b"a", b"c"], [b"b"])
    assert not waiting.done()


async def test_of_the_spills_records_as_many_go_as_fit_a_batch_of_each_partition():
    setup = Setup()
    records = [spilled(str(number)) for number in range(BATCH_RECORDS + 1)]
    assert await setup.sender.send([*records, spilled("behind", partition=1)]) == BATCH_RECORDS
    assert setup.logged(1) == []


async def test_a_page_of_the_spill_that_is_refused_in_part_is_told_when_all_of_it_is_answered():
    setup = Setup()
    setup.kafka.is_silent = True
    sending = asyncio.ensure_future(setup.sender.send([spilled("a"), spilled("b", partition=1)]))
    await setup.handed_over(2)
    first, second = setup.kafka.pending
    first.ack.set_exception(MessageSizeTooLargeError())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()
    second.ack.set_result(None)
    with pytest.raises(MessageSizeTooLargeError):
        await asyncio.wait_for(sending, PATIENCE_SECONDS)


async def test_a_page_of_the_spill_that_kafka_refuses_breaks_the_sender():
    setup = Setup()
    setup.kafka.refusals_left = 1
    with pytest.raises(MessageSizeTooLargeError):
        await setup.sender.send([spilled("a")])
    assert isinstance(setup.sender.broken, MessageSizeTooLargeError)


async def test_who_stops_shipping_waits_for_no_answer_any_more():
    setup = Setup()
    await setup.add_unanswered(record("a"))
    setup.sender.stop_shipping()
    await asyncio.wait_for(setup.sender.settled(), PATIENCE_SECONDS)
    assert setup.troubles == []
    assert setup.logged() in ([], [b"a"])  # it may have arrived, only its answer has not


async def test_it_knows_the_topics_that_it_was_told_of():
    setup = Setup()
    assert setup.sender.knows(TOPIC)
    assert not setup.sender.knows("test.other")
    setup.sender.learn("test.other", 1)
    assert setup.sender.knows("test.other")
    await end(*setup.sender.add([("test.other", key_of(2).encode(), b"a")], NO_HEADERS))
    assert setup.logged(0) == [b"a"]


async def test_a_pending_batch_holds_its_records_and_their_size():
    timer = asyncio.get_running_loop().call_later(LONG_SECONDS, lambda: None)
    batch = PendingBatch(Builder(), timer)
    assert batch.add((TOPIC, b"key", b"value"), NO_HEADERS)
    assert batch.add((TOPIC, b"k", b""), NO_HEADERS)
    assert batch.size_bytes == 9
    assert batch.records == [(TOPIC, b"key", b"value"), (TOPIC, b"k", b"")]
    batch.apply(BatchEvent.NO_ROOM, OSError("full"))
    assert isinstance(batch.safe.exception(), OSError)
    assert timer.cancelled()


def pending(deadline: float = LONG_SECONDS) -> PendingBatch:
    batch = PendingBatch(Builder(), asyncio.get_running_loop().call_later(deadline, lambda: None))
    assert batch.add((TOPIC, b"key", b"value"), NO_HEADERS)
    return batch


async def test_what_has_arrived_has_no_deadline_any_more():
    batch = pending()
    batch.apply(BatchEvent.HANDED_OVER)
    assert not batch.deadline.cancelled()
    batch.apply(BatchEvent.ACKED)
    assert (batch.deadline.cancelled(), batch.safe.result()) == (True, None)


@pytest.mark.parametrize("events", [[BatchEvent.NO_ROOM], [BatchEvent.HANDED_OVER, BatchEvent.ACKED]])
async def test_a_batch_whose_requests_have_gone_ends_without_a_word(events):
    """Neither their absence nor a failure that nobody sees is a bug."""
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: said.append(about))
    gone, unseen = pending(), pending()
    gone.safe.cancel()
    for batch in (gone, unseen):
        for each in events:
            batch.apply(each, OSError("full"))
    await asyncio.sleep(0)  # the callbacks have run
    del gone, unseen, batch
    await asyncio.sleep(0)
    assert said == []


class Place:
    """A place in the spill that counts how often its records were deleted from there."""

    deletions = 0

    def arrived(self) -> None:
        self.deletions += 1


E = BatchEvent


@pytest.mark.parametrize(
    ("events", "is_accepted", "deletions"),
    [
        ([E.TAKEN_BACK, E.WRITTEN], True, 0),
        ([E.TAKEN_BACK, E.NOT_WRITTEN], False, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK], None, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.WRITTEN], True, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.WRITTEN, E.REFUSED], True, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.NOT_WRITTEN, E.ACKED], False, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.REFUSED, E.WRITTEN], True, 0),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.WRITTEN, E.ACKED], True, 1),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.ACKED], True, 1),
        ([E.HANDED_OVER, E.TAKEN_BACK, E.ACKED, E.WRITTEN], True, 1),
    ],
    ids=lambda value: "-".join(event.name for event in value) if isinstance(value, list) else None,
)
async def test_what_is_on_disk_is_deleted_from_there_only_once_kafka_has_it(events, is_accepted, deletions):
    batch, place = pending(), Place()
    batch.ticket = place
    for event in events:
        batch.apply(event, OSError("full") if event is E.NOT_WRITTEN else None)
    assert place.deletions == deletions
    assert batch.safe.done() == (is_accepted is not None)
    if batch.safe.done():
        assert (batch.safe.exception() is None) == is_accepted
