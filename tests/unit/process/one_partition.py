"""One partition of a processor in virtual time: the real checkpoint, lease, store and fold, on the simulator's doubles.

The doubles keep the contracts of the real things (``tests/simulation/contracts.py``). Faults strike where a test says,
and each counts that it has struck.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from prometheus_client import Gauge

from tests.sessions_log import Log
from tests.simulation.broker import CHANGELOG_TOPIC, PREFIX, SOURCE_TOPIC, Appended, Broker
from tests.simulation.disk import Disk, MemoryDatabase
from tests.simulation.environment import Environment
from tests.simulation.producer import Batch, Producer
from tests.simulation.reader import Reader
from tests.virtual_time import new_environment, run_virtually
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS
from tracker.dead_letters.floods import FloodLimit, Floods
from tracker.process.checkpoint import Checkpoint
from tracker.process.lease import SessionLease, read_lifetimes
from tracker.sessions.rules import Rules
from tracker.streaming.chunk import Chunk
from tracker.table.store import Row, SessionStore

PARTITIONS = 2
NUMBER = 1
TP = TopicPartition(SOURCE_TOPIC, NUMBER)
STORE_PATH = Path("sessions/partition-1")
LARGE_BATCH_BYTES = 100_000
#: Shown to nobody.
FLOODS = Gauge("floods", "Dead letters", ["producer", "workspace"], registry=None)
NO_LETTER_LIMIT = FloodLimit(window_records=1_000, min_letters=1_000, max_percent=100, stops=False)


class FaultyProducer(Producer):
    """A producer of which some batches fail. ``faults``: by topic, what becomes of its next batches, one each."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.faults: dict[str, list[str]] = {}
        self.struck: Counter[str] = Counter()
        #: What is called once a topic's batch is acked, before its sender hears of it.
        self.on_ack: dict[str, Callable[[], None]] = {}
        self.sent_to: list[str] = []

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Appended]":
        self.sent_to.append(topic)
        fault = self.faults[topic].pop(0) if self.faults.get(topic) else ""
        self.struck[fault] += bool(fault)
        if fault == "refused":
            return self._answered(KafkaTimeoutError())
        ack = await super().send_batch(batch, topic, partition=partition)
        if topic in self.on_ack:
            ack.add_done_callback(lambda _: self.on_ack[topic]())
        if not fault:
            return ack
        await ack
        assert fault in {"ack lost", "place not told"}, fault
        return self._answered(KafkaTimeoutError() if fault == "ack lost" else Appended(-1))

    def _answered(self, answer: KafkaError | Appended) -> "asyncio.Future[Appended]":
        ack = self._env.loop.create_future()
        if isinstance(answer, KafkaError):
            ack.set_exception(answer)
        else:
            ack.set_result(answer)
        return ack


class FaultyReader(Reader):
    """A reader whose next requests fail, one for each error."""

    def __init__(self, env: Environment, broker: Broker, errors: list[BaseException]) -> None:
        super().__init__(env, broker)
        self._errors = errors

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        return await super().getmany(*partitions, **options)


class OnePartition:
    """Everything of one partition. ``log`` writes its source records; ``checkpoint_all`` folds what is new."""

    def __init__(
        self, *, max_batch_bytes: int = LARGE_BATCH_BYTES, cache_max_sessions: int = 100, **rules: Any
    ) -> None:
        self.env = new_environment()
        self.broker = Broker(PARTITIONS)
        self.disk = Disk()
        self.rules = Rules(**rules)
        self.log = Log(self.rules, number=NUMBER)
        self.producer = FaultyProducer(self.env, self.broker, max_batch_bytes)
        self.reader_errors: list[BaseException] = []
        self.readers = 0
        self.cache_max_sessions = cache_max_sessions
        self.lease: SessionLease
        self._taken = 0

    def run(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test in virtual time."""
        run_virtually(self.env, test)

    def checkpoint(self, letter_limit: FloodLimit = NO_LETTER_LIMIT, tracing: Any = None) -> Checkpoint:
        return Checkpoint(self.producer, self.reader, PREFIX, Floods(letter_limit, FLOODS), tracing)

    def reader(self) -> Any:
        self.readers += 1
        return FaultyReader(self.env, self.broker, self.reader_errors)

    def open_store(self) -> SessionStore:
        return SessionStore(STORE_PATH, lambda path: MemoryDatabase(path, self.disk), now_ms=lambda: self.env.now_ms)

    async def open_lease(self, log_start_offset: int = 0) -> SessionLease:
        """As recovery does it, once the store is at the changelog's end."""
        store = self.open_store()
        self.lease = SessionLease(
            TP,
            generation=0,
            store=store,
            partition_of=self.log.partition_of,
            rules=self.rules,
            cache_max_sessions=self.cache_max_sessions,
            log_start_offset=log_start_offset,
            lifetimes=await read_lifetimes(store, self.rules),
        )
        return self.lease

    def next_chunk(self) -> Chunk:
        """What was written to the source since the last one."""
        records = self.log.records[self._taken :]
        chunk = Chunk(self.lease, records, self._taken, len(self.log.records))  # type: ignore[arg-type]
        self._taken = len(self.log.records)
        return chunk

    async def checkpoint_next(self, checkpoint: Checkpoint | None = None) -> Chunk:
        chunk = self.next_chunk()
        await (checkpoint or self.checkpoint()).run(chunk)
        return chunk

    def written(self, topic: str) -> list[Any]:
        """All records of a topic's partition."""
        return self.broker.log(topic, NUMBER).records

    @property
    def outputs(self) -> dict[str, list[Any]]:
        return {topic.suffix: self.written(topic.name(PREFIX)) for topic in (SEQUENCED, SESSIONS, DEAD_LETTERS)}

    @property
    def changelog(self) -> list[Any]:
        return self.written(CHANGELOG_TOPIC)

    def others_write(self, rows: list[Row]) -> None:
        """Another worker writes to our changelog: a zombie, or one that has taken over."""
        self.broker.log(CHANGELOG_TOPIC, NUMBER).append([(key, value, ()) for key, _, value in rows], self.env.now_ms)


def partition_test(**options: Any) -> Callable[[Callable[[OnePartition], Awaitable[None]]], Callable[[], None]]:
    """Make a test of a coroutine that takes one partition."""

    def decorate(test: Callable[[OnePartition], Any]) -> Callable[[], None]:
        def run() -> None:
            partition = OnePartition(**options)
            partition.run(lambda: test(partition))

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
