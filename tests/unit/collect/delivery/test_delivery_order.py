"""Whatever Kafka and the process do: what is accepted is in the log, and a session's records in their order."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.database_image import copy_image
from tests.unit.collect.delivery.faulty_kafka import FaultyKafka, until
from tracker.collect.delivery.handover import Mode
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.errors import RequestError
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.source_records import EncodedRecord
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

SESSIONS = 12
#: How often each fault strikes.
ROUNDS = 2


class Collector:
    """A producer on a disk, that can die: what was written is left, and nobody gets an answer any more."""

    def __init__(self, kafka: FaultyKafka, tmp_path: Path, spill_max_bytes: int) -> None:
        self.kafka = kafka
        self._tmp_path = tmp_path
        self._spill_max_bytes = spill_max_bytes
        self._lives = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._started = asyncio.Event()
        self.producer: SourceProducer
        self.metrics = CollectMetrics()

    async def start(self) -> None:
        settings = Settings(
            data_dir=self._tmp_path / str(self._lives),
            topic_prefix="test.",
            collect_ack_timeout_ms=100,
            spill_max_bytes=self._spill_max_bytes,
        )
        router = TopicRouter(settings, None)
        self.producer = SourceProducer(settings, router, self.metrics, make_producer=self.kafka.make_producer)
        self.tasks = SupervisedTasks()
        await self.producer.start(self.tasks)
        self._started.set()

    async def crash(self) -> None:
        self._started.clear()
        self.kafka.struck["died over"] += len(self._calls)
        for call in self._calls:
            call.cancel()
        for task in self.producer._loops:
            task.cancel()
        sender = self.producer._connection._sender
        if sender is not None:
            sender.producer.die()
            sender.stop_shipping()
        dead, self._lives = self._tmp_path / str(self._lives), self._lives + 1
        # The dead process's files as they are at this moment, a write that is under way included.
        await asyncio.to_thread(copy_image, dead, self._tmp_path / str(self._lives))
        await asyncio.gather(*self.producer._loops, return_exceptions=True)
        await self.producer._spills.close()
        assert not self.tasks.failed.done()
        await self.start()

    async def deliver(self, records: list[EncodedRecord]) -> bool:
        """Whether they were accepted; False also if the process died over it."""
        await self._started.wait()
        call = asyncio.create_task(safe(self.producer, records))
        self._calls.add(call)
        await asyncio.wait([call])
        self._calls.discard(call)
        error = asyncio.CancelledError() if call.cancelled() else call.exception()
        assert error is None or isinstance(error, RequestError | asyncio.CancelledError), error
        return error is None


async def safe(producer: SourceProducer, records: list[EncodedRecord]) -> None:
    """What a request does."""
    delivery = producer.deliver(records)
    await asyncio.wait([delivery.ended])
    delivery.check()


async def visit(collector: Collector, session: str, accepted: list[bytes], stop: asyncio.Event) -> None:
    """A client that does not always wait for its answers, as a page does not, and repeats nothing."""
    number = 0
    while not stop.is_set():
        calls = []
        for _ in range(collector.kafka.rng.randint(1, 3)):
            count = collector.kafka.rng.randint(1, 3)
            values = [f"{session}:{number + nth}".encode() for nth in range(count)]
            records = [
                EncodedRecord(session.encode(), value, session, value.decode(), sets_cookie=False) for value in values
            ]
            calls.append((values, asyncio.create_task(collector.deliver(records))))
            number += count
        for values, call in calls:
            if await call:
                accepted += values


async def silence(collector: Collector, rng: random.Random) -> None:
    collector.kafka.is_silent = True
    await asyncio.sleep(rng.uniform(0.05, 0.4))
    collector.kafka.wake()


async def refusals(collector: Collector, rng: random.Random) -> None:
    collector.kafka.refusals_left = rng.randint(1, 4)
    await until(lambda: collector.kafka.refusals_left == 0)


async def crash(collector: Collector, _: random.Random) -> None:
    await collector.crash()


async def crash_in_silence(collector: Collector, rng: random.Random) -> None:
    collector.kafka.is_silent = True
    await asyncio.sleep(rng.uniform(0.05, 0.4))
    await collector.crash()
    await asyncio.sleep(rng.uniform(0, 0.2))
    collector.kafka.wake()


async def misbehave(collector: Collector, rng: random.Random, stop: asyncio.Event) -> None:
    """Let every fault strike again and again, in any order, once records go to Kafka directly."""
    await until(lambda: collector.producer.mode is Mode.DIRECT and any(collector.kafka.log))
    collector.kafka.is_silent = True
    await until(lambda: bool(collector.kafka.pending))
    faults = [silence, refusals, crash, crash_in_silence] * ROUNDS
    rng.shuffle(faults)
    for fault in (silence, *faults):
        await asyncio.sleep(rng.uniform(0.02, 0.2))
        await fault(collector, rng)
    stop.set()


def without_repetitions(values: list[bytes]) -> list[bytes]:
    """What the processor makes of them: it knows a session's last 128 events."""
    kept: list[bytes] = []
    for value in values:
        if value not in kept[-128:]:
            kept.append(value)
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("spill_max_bytes", [10_000_000, 4_000], ids=["roomy", "tight"])
async def test_each_accepted_record_is_in_the_log_once_and_in_order(tmp_path, seed, spill_max_bytes):
    rng = random.Random(seed)
    collector = Collector(FaultyKafka(rng), tmp_path, spill_max_bytes)
    await collector.start()
    stop = asyncio.Event()
    accepted: dict[str, list[bytes]] = {f"s{number}": [] for number in range(SESSIONS)}
    clients = [visit(collector, session, values, stop) for session, values in accepted.items()]
    await asyncio.gather(misbehave(collector, rng, stop), *clients)

    kafka = collector.kafka
    kafka.wake()
    await until(lambda: collector.producer.mode is Mode.DIRECT)
    await collector.producer.stop()

    assert collector.metrics.spill.records_spilled._value.get() > 0
    assert collector.metrics.spill.records_drained._value.get() > 0
    assert +kafka.struck == kafka.struck
    assert kafka.struck.keys() == {"not answered", "refused", "died over"}
    for session, values in accepted.items():
        logged = [value for log in kafka.log for key, value in log if key == session.encode()]
        # What was not accepted may be in the log all the same: its client was told so, or had no answer.
        was_accepted = set(values)
        assert [value for value in without_repetitions(logged) if value in was_accepted] == values, session


async def test_silence_alone_repeats_nothing_and_it_goes_direct_again_under_load_that_never_pauses(tmp_path):
    rng = random.Random(1)
    collector = Collector(FaultyKafka(rng), tmp_path, 10_000_000)
    await collector.start()
    stop = asyncio.Event()
    accepted: dict[str, list[bytes]] = {f"s{number}": [] for number in range(SESSIONS)}
    clients = [asyncio.create_task(visit(collector, session, values, stop)) for session, values in accepted.items()]
    collector.kafka.max_latency_seconds = 0.0
    await until(lambda: collector.producer.mode is Mode.DIRECT and all(accepted.values()))
    collector.kafka.is_silent = True  # with batches under way, so that their fate is open for a while
    await until(lambda: collector.producer._spills.records >= 500)
    collector.kafka.wake()
    await until(lambda: collector.producer.mode is Mode.DIRECT)
    stop.set()
    await asyncio.gather(*clients)
    await collector.producer.stop()
    for session, values in accepted.items():
        assert [value for log in collector.kafka.log for key, value in log if key == session.encode()] == values
