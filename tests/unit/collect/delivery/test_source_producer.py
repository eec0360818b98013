"""Where accepted records go, Kafka there or away, and what their clients and the readiness probe are told."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import FaultyKafka, FaultyProducer, key_of, until
from tests.unit.collect.spill.refusing_disk import disk  # noqa: F401 - a fixture
from tracker.collect.delivery import kafka_connection as connection_module
from tracker.collect.delivery import producer as producer_module
from tracker.collect.delivery import sender as sender_module
from tracker.collect.delivery.handover import Mode
from tracker.collect.delivery.producer import SPILL_FULL_RETRY_AFTER_SECONDS, Delivery, SourceProducer
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.source_records import EncodedRecord
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.store import SpilledRecord, SpillStore
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

#: The shortest and a long wait for Kafka's answers that the settings take.
SHORT_MS = 100
LONG_MS = 60_000
ROOMY_BYTES = 10_000_000


class Setup:
    """A producer on a broker that is silent when a test says so, and on a real disk."""

    def __init__(self, tmp_path, *, ack_timeout_ms: int = LONG_MS, spill_max_bytes: int = ROOMY_BYTES) -> None:
        self.kafka = FaultyKafka(random.Random(1))
        self.kafka.max_latency_seconds = 0.0
        self.settings = Settings(
            data_dir=tmp_path,
            topic_prefix="test.",
            collect_ack_timeout_ms=ack_timeout_ms,
            spill_max_bytes=spill_max_bytes,
        )
        self.metrics = CollectMetrics()
        self.tasks = SupervisedTasks()
        router = TopicRouter(self.settings, None)
        self.producer = SourceProducer(self.settings, router, self.metrics, make_producer=self.kafka.make_producer)

    @asynccontextmanager
    async def running(self, mode: Mode = Mode.DIRECT):
        self.kafka.is_silent = mode is Mode.SPILLING
        await self.producer.start(self.tasks)
        await until(lambda: self.producer.mode is mode)
        try:
            yield self.producer
        finally:
            await asyncio.wait_for(self.producer.stop(), PATIENCE_SECONDS)
            assert not self.tasks.failed.done()

    async def start_with_one_under_way(self) -> None:
        """Start, and deliver a record that Kafka does not acknowledge; the test stops the producer."""
        await self.producer.start(self.tasks)
        await until(lambda: self.producer.mode is Mode.DIRECT)
        self.kafka.is_silent = True
        self.producer.deliver([record("a")])
        await until(lambda: len(self.kafka.pending) == 1)

    def be_patient(self) -> None:
        """From now on no answer comes too late, however slow the machine is."""
        connection = self.producer._connection
        connection._settings = self.settings.model_copy(update={"collect_ack_timeout_ms": LONG_MS})
        if connection._sender is not None:
            connection._sender._ack_timeout_seconds = LONG_MS / 1_000

    @property
    def values(self) -> list[bytes]:
        return [value for log in self.kafka.log for _, value in log]


def record(value: str, partition: int = 0) -> EncodedRecord:
    session = key_of(partition)
    return EncodedRecord(session.encode(), value.encode(), session, value, sets_cookie=False)


async def safe(producer: SourceProducer, *records: EncodedRecord) -> None:
    """What a request does."""
    delivery = producer.deliver(records)
    await asyncio.wait_for(asyncio.wait([delivery.ended]), PATIENCE_SECONDS)
    delivery.check()


async def refusal_of(call: Awaitable[object]) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await call
    return refused.value


async def test_a_request_ends_when_the_last_of_its_batches_is_safe(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        delivery = producer.deliver([record("a"), record("b", partition=1)])
        assert len(delivery.batches) == 2
        await until(lambda: len(setup.kafka.pending) == 2)
        setup.kafka.pending[0].ack.set_result(None)
        await until(lambda: any(batch.done() for batch in delivery.batches))
        assert not delivery.ended.done()
        setup.kafka.wake()
        await asyncio.wait_for(delivery.ended, PATIENCE_SECONDS)
        delivery.check()


async def test_a_request_of_one_batch_waits_for_that_batch_itself(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        delivery = producer.deliver([record("a"), record("b")])
        assert delivery.batches == [delivery.ended]
        await asyncio.wait_for(delivery.ended, PATIENCE_SECONDS)
    assert setup.values == [b"a", b"b"]


async def test_what_kafka_does_not_acknowledge_in_time_is_safe_on_disk_and_there_until_kafka_has_it(tmp_path):
    setup = Setup(tmp_path, ack_timeout_ms=SHORT_MS)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        await safe(producer, record("a"))
        assert producer.mode is Mode.SPILLING
        setup.be_patient()
        await safe(producer, record("b"))
        assert setup.metrics.spill.records_spilled._value.get() == 2
        setup.kafka.wake()
        await until(lambda: producer.mode is Mode.DIRECT)
        await safe(producer, record("c"))
    # Kafka had the first after all, so that it was deleted from the disk and not sent again.
    assert setup.values == [b"a", b"b", b"c"]
    assert setup.metrics.spill.records_drained._value.get() == 1


async def test_a_sender_that_is_full_is_relieved_by_the_spill(tmp_path, monkeypatch):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        monkeypatch.setattr(sender_module, "MAX_UNSETTLED_RECORDS", 1)
        first = producer.deliver([record("a")])
        assert producer.mode is Mode.DIRECT
        with capture_logs() as logs:
            await safe(producer, record("b"))
        assert setup.metrics.spill.records_spilled._value.get() == 2
        assert [(log["reason"], log["records"]) for log in logs if log["event"] == "events go to the spill"] == [
            ("the sender holds as many records as it may", 1)
        ]
        await asyncio.wait_for(first.ended, PATIENCE_SECONDS)
        first.check()
        setup.kafka.wake()
        await until(lambda: producer.mode is Mode.DIRECT)
    assert sorted(setup.values) == [b"a", b"b"]


async def test_a_full_spill_is_told_with_a_time_to_wait_and_counted(tmp_path):
    setup = Setup(tmp_path, spill_max_bytes=100)
    async with setup.running(Mode.SPILLING) as producer:
        refused = await refusal_of(safe(producer, record("a" * 200)))
        assert refused.code == "spill_full"
        assert refused.retry_after_seconds == SPILL_FULL_RETRY_AFTER_SECONDS
        assert str(refused).startswith("Kafka is away, and the disk space for waiting events is full; repeat it")
        assert setup.metrics.spill.refusals._value.get() == 1


async def test_a_batch_that_finds_no_room_when_it_is_taken_back_is_told_the_same(tmp_path):
    setup = Setup(tmp_path, spill_max_bytes=100)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        sent = asyncio.ensure_future(refusal_of(safe(producer, record("a" * 200))))
        await until(lambda: len(setup.kafka.pending) == 1)
        producer.trouble("Kafka does not acknowledge")
        assert (await sent).code == "spill_full"
        setup.kafka.wake()


async def test_a_bug_in_the_sender_ends_the_collector(tmp_path):
    setup = Setup(tmp_path)
    await setup.start_with_one_under_way()
    setup.kafka.pending.pop().ack.set_exception(ValueError("a bug"))
    await asyncio.wait([setup.tasks.failed], timeout=PATIENCE_SECONDS)
    assert repr(setup.tasks.failed.exception()) == "ValueError('a bug')"
    await setup.producer.stop()


async def test_a_bug_is_never_taken_for_an_accepted_record(tmp_path):
    failed = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        Delivery(failed, [failed], Setup(tmp_path).producer).check()


async def test_without_a_spill_the_reason_is_that_kafka_is_away(tmp_path):
    setup = Setup(tmp_path, spill_max_bytes=0)
    async with setup.running(Mode.SPILLING) as producer:
        await until(lambda: "can't reach Kafka" in producer._connection.reason)
        refused = await refusal_of(safe(producer, record("a")))
        assert refused.code == "kafka_unavailable"
        assert f"can't reach Kafka at {setup.settings.kafka_bootstrap}" in str(refused)


async def test_without_a_spill_a_batch_that_kafka_does_not_acknowledge_may_still_arrive(tmp_path):
    setup = Setup(tmp_path, spill_max_bytes=0)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        sent = asyncio.ensure_future(refusal_of(safe(producer, record("a"))))
        await until(lambda: len(setup.kafka.pending) == 1)
        producer.trouble("Kafka does not acknowledge")  # as its timer does, which on a busy machine may be too early
        refused = await sent
        assert refused.code == "kafka_unavailable"
        assert "Kafka did not acknowledge in time; it may still arrive" in str(refused)
        setup.kafka.wake()
        await until(lambda: producer.mode is Mode.DIRECT)
    assert setup.values == [b"a"]


async def test_ready_says_where_events_go(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        spill = {"records": 0, "bytes": 0, "max_bytes": ROOMY_BYTES, "oldest_age_seconds": 0.0, "draining": False}
        assert await producer.readiness() == {"kafka": "ok", "spill": spill}


async def test_a_collector_that_has_never_reached_kafka_is_not_ready(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running(Mode.SPILLING) as producer:
        await until(lambda: "can't reach Kafka" in producer._connection.reason)
        refused = await refusal_of(producer.readiness())
        assert refused.code == "kafka_unavailable"
        assert "can't reach Kafka" in str(refused)


async def test_a_collector_that_knows_kafka_is_ready_while_kafka_is_away_and_the_spill_has_room(tmp_path):
    setup = Setup(tmp_path, spill_max_bytes=200)
    SpillDirectories(tmp_path / "collect").claim()
    SpillDirectories(tmp_path / "collect").note_kafka(setup.settings.kafka_bootstrap)
    async with setup.running(Mode.SPILLING) as producer:
        await until(lambda: "can't reach Kafka" in producer._connection.reason)
        await safe(producer, record("a"))
        found = await producer.readiness()
        assert "can't reach Kafka" in found["kafka"]
        assert found["spill"]["records"] == 1
        assert not found["spill"]["draining"]
        room = producer._spills.own.max_bytes - producer._spills.own.size_bytes
        one = producer._spills.own.size_bytes - len("a")
        await safe(producer, record("b" * (room - one)))
        assert producer._spills.own.size_bytes == 200
        refused = await refusal_of(producer.readiness())
        assert refused.code == "spill_full"


async def test_what_neither_kafka_nor_the_disk_has_is_not_accepted(tmp_path, disk):  # noqa: F811
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        sent = asyncio.ensure_future(refusal_of(safe(producer, record("a"))))
        await until(lambda: len(setup.kafka.pending) == 1)
        disk.refuses = True
        producer.trouble("Kafka does not acknowledge")
        refused = await sent
        assert disk.refused_writes == 1
        assert (refused.code, setup.metrics.spill.refusals._value.get()) == ("kafka_unavailable", 1)
        setup.kafka.wake()


async def test_a_collector_whose_disk_refuses_is_not_ready_while_kafka_is_away(tmp_path, disk):  # noqa: F811
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        setup.kafka.is_silent = True
        await producer.readiness()
        disk.refuses = True
        producer.trouble("Kafka does not acknowledge")
        assert (await refusal_of(safe(producer, record("a")))).code == "kafka_unavailable"
        assert disk.refused_writes == 1
        refused = await refusal_of(producer.readiness())
        assert (refused.code, "the spill takes nothing more" in str(refused)) == ("spill_full", True)
        setup.kafka.is_silent = False
        assert (await producer.readiness())["kafka"] == "ok"


async def test_ready_says_that_the_spill_is_drained_while_kafka_takes_records(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        await producer._spills.own.append([("test.events", b"key", b"value")]).written
        assert (await producer.readiness())["spill"]["draining"] is True
        setup.kafka.is_silent = True
        assert (await producer.readiness())["spill"]["draining"] is False


async def test_the_metrics_say_that_the_spill_is_drained_only_while_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(producer_module, "WATCH_INTERVAL_SECONDS", 0.001)
    setup = Setup(tmp_path)
    async with setup.running(Mode.SPILLING) as producer:
        await safe(producer, record("a"))
        await until(lambda: setup.metrics.spill.draining._value.get() == 1)
        # A record that is just being written may be counted as queued and as written, for the moment.
        await until(lambda: setup.metrics.spill.records._value.get() == 1)
        setup.kafka.wake()
        await until(lambda: producer.mode is Mode.DIRECT)
        await until(lambda: setup.metrics.spill.draining._value.get() == 0)


async def test_it_says_when_records_go_to_kafka_directly_and_waits_no_longer_than_it_may(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running(Mode.SPILLING) as producer:
        await asyncio.wait_for(producer.until_direct(0.01), PATIENCE_SECONDS)
        assert producer.mode is Mode.SPILLING
        setup.kafka.wake()
        await producer.until_direct(PATIENCE_SECONDS)
        assert producer.mode is Mode.DIRECT


async def test_the_end_closes_the_producer_and_gives_the_disk_to_the_next(tmp_path):
    setup = Setup(tmp_path)
    async with setup.running() as producer:
        connected = producer._connection._sender
        await safe(producer, record("a"))
    assert connected.producer.is_closed
    assert SpillDirectories(tmp_path / "collect").claim_orphans() != []


async def test_what_waits_at_the_end_is_sent_by_the_next_process(tmp_path):
    first = Setup(tmp_path)
    async with first.running(Mode.SPILLING) as producer:
        await safe(producer, record("a"), record("b"))
    assert first.values == []
    for values, drained in (([b"a", b"b", b"c"], [2]), ([b"c"], [])):
        setup = Setup(tmp_path)
        with capture_logs() as logs:
            async with setup.running() as producer:
                await safe(producer, record("c"))
        assert setup.values == values
        assert [log["records"] for log in logs if log["event"] == "the spill is drained"] == drained


@pytest.fixture
def short_flush(monkeypatch):
    """A stop does not wait long for a broker that is silent."""
    for module in (producer_module, connection_module):
        monkeypatch.setattr(module, "FLUSH_TIMEOUT_SECONDS", 0.01)


async def values_of_the_next_process(tmp_path) -> list[bytes]:
    setup = Setup(tmp_path)
    async with setup.running():
        pass
    return setup.values


@pytest.mark.usefixtures("short_flush")
async def test_what_kafka_has_not_answered_at_the_end_is_left_to_the_next_process(tmp_path):
    setup = Setup(tmp_path)
    with capture_logs() as logs:
        async with setup.running() as producer:
            setup.kafka.is_silent = True
            producer.deliver([record("a")])
            await until(lambda: len(setup.kafka.pending) == 1)
    assert [log["reason"] for log in logs if log["event"] == "events go to the spill"] == ["the collector is stopping"]
    assert all(loop.done() for loop in producer._loops)
    assert await values_of_the_next_process(tmp_path) == [b"a"]


async def test_what_kafka_answers_while_the_collector_stops_is_not_sent_again(tmp_path):
    setup = Setup(tmp_path)
    await setup.start_with_one_under_way()
    stopping = asyncio.ensure_future(setup.producer.stop())
    await until(lambda: setup.producer._connection.reason == "the collector is stopping")
    setup.kafka.wake()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)
    assert setup.values == [b"a"]
    assert await values_of_the_next_process(tmp_path) == []


async def test_the_answer_to_the_last_page_of_the_spill_is_waited_for(tmp_path):
    first = Setup(tmp_path)
    async with first.running(Mode.SPILLING) as producer:
        await safe(producer, record("a"))
    setup = Setup(tmp_path)

    def falls_silent(*_: object) -> FaultyProducer:
        producer = setup.kafka.make_producer()
        start = producer.start

        async def start_and_fall_silent() -> None:
            await start()
            setup.kafka.is_silent = True

        producer.start = start_and_fall_silent  # type: ignore[method-assign]
        return producer

    setup.producer._make_producer = falls_silent  # type: ignore[assignment]
    await setup.producer.start(setup.tasks)
    await until(lambda: len(setup.kafka.pending) == 1)
    stopping = asyncio.ensure_future(setup.producer.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not setup.kafka.pending[0].ack.done()
    setup.kafka.wake()
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)
    assert setup.values == [b"a"]
    assert await values_of_the_next_process(tmp_path) == []


async def test_what_another_process_leaves_meanwhile_is_found_and_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(producer_module, "WATCH_INTERVAL_SECONDS", 0.001)
    setup = Setup(tmp_path)
    with capture_logs() as logs:
        async with setup.running():
            other = SpillDirectories(tmp_path / "collect")
            path = other.claim()
            store = SpillStore(path)
            store.append([SpilledRecord("test.events", 1, b"key", b"left")])
            store.close()
            other.release()
            await until(lambda: setup.values == [b"left"])
            await until(lambda: setup.producer.mode is Mode.DIRECT)
    reasons = [log["reason"] for log in logs if log["event"] == "events go to the spill"]
    assert f"{path.name} was left behind by another process" in reasons
