"""A double of aiokafka's idempotent producer: acks can be late, lost, or come for a batch that was sent twice."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaTimeoutError

from tests.simulation.broker import CHANGELOG_TOPIC, SOURCE_TOPIC, Appended, Broker, Content
from tests.simulation.environment import Environment
from tests.simulation.loop import PROCESS, WORLD, Process
from tracker.sessions.layouts import WATERMARK_KEY

#: The client's own time-out for one batch, broker outages included.
REQUEST_TIMEOUT_SECONDS = 40.0
RETRY_SECONDS = 0.3
#: What a record costs in a batch beyond its bytes.
RECORD_OVERHEAD_BYTES = 12
BATCH_OVERHEAD_BYTES = 61


class Batch:
    """A batch that is being filled."""

    def __init__(self, max_bytes: int) -> None:
        self.contents: list[Content] = []
        self.created_ms: list[int | None] = []
        self._size_bytes = BATCH_OVERHEAD_BYTES
        self._max_bytes = max_bytes

    def append(self, *, timestamp: Any, key: bytes | None, value: bytes | None, headers: Any = ()) -> object | None:
        """Add a record; None if the batch is full. The first one always fits."""
        size = RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        size += sum(len(name) + len(content) + 2 for name, content in headers)
        if self.contents and self._size_bytes + size > self._max_bytes:
            return None
        self._size_bytes += size
        self.contents.append((key, value, headers))
        self.created_ms.append(timestamp)
        return self

    def close(self) -> None:
        """Take no more records: nobody here appends to a batch that was handed over."""

    def record_count(self) -> int:
        return len(self.contents)


class Sent:
    """A batch on its way."""

    def __init__(self, batch: Batch, ack: "asyncio.Future[Appended]", deadline: float) -> None:
        self.batch = batch
        self.ack = ack
        self.deadline = deadline


class Producer:
    """One process's producer. Batches of one partition go one after the other, as with one in flight."""

    def __init__(self, env: Environment, broker: Broker, max_batch_bytes: int, lost_ack_probability: float = 0.0):
        #: Whether this process owns a partition now, as far as the group's coordinator knows.
        self.is_owner: Callable[[int], bool] = lambda _: True
        self._env = env
        self._broker = broker
        self._max_batch_bytes = max_batch_bytes
        self._lost_ack_probability = lost_ack_probability
        self._process: Process | None = PROCESS.get()
        self._queues: dict[tuple[str, int], deque[Sent]] = {}
        #: Partitions of the changelog whose last batch was not the end of a chunk: W was not in it.
        self._unfinished: set[int] = set()

    def create_batch(self) -> Batch:
        return Batch(self._max_batch_bytes)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Appended]":
        """Queue a batch; the returned future is its ack."""
        await self._env.point(self._point(topic, partition))
        if topic == CHANGELOG_TOPIC:
            is_last = any(key == WATERMARK_KEY for key, _, _ in batch.contents)
            (self._unfinished.discard if is_last else self._unfinished.add)(partition)
        ack = self._env.loop.create_future()
        queue = self._queues.setdefault((topic, partition), deque())
        queue.append(Sent(batch, ack, self._env.loop.time() + REQUEST_TIMEOUT_SECONDS))
        if len(queue) == 1:
            self._send_next(topic, partition)
        return ack

    async def send_and_wait(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int = 0, headers: Any = None
    ) -> Appended:
        """Send one record and wait for its ack."""
        batch = self.create_batch()
        batch.append(timestamp=None, key=key, value=value, headers=headers or [])
        return await (await self.send_batch(batch, topic, partition=partition))

    def _point(self, topic: str, partition: int) -> str:
        if topic == CHANGELOG_TOPIC:
            return "between changelog batches" if partition in self._unfinished else "before the changelog"
        return "before a tick or forward" if topic == SOURCE_TOPIC else "before outputs"

    def _send_next(self, topic: str, partition: int) -> None:
        """The request leaves the process; from here on the process can't take it back."""
        sent = self._queues[topic, partition][0]
        self._env.loop.call_later(self._env.latency(), self._arrive, topic, partition, sent, context=WORLD)

    def _arrive(self, topic: str, partition: int, sent: Sent) -> None:
        env = self._env
        if not self._broker.is_up:
            if env.loop.time() < sent.deadline:
                env.loop.call_later(RETRY_SECONDS, self._arrive, topic, partition, sent, context=WORLD)
            else:
                self._answer(topic, partition, sent, None)
            return
        contents = sent.batch.contents
        if topic == CHANGELOG_TOPIC and not self.is_owner(partition):
            env.counters["written by a zombie"] += 1
        base = self._broker.log(topic, partition).append(contents, env.broker_now_ms, sent.batch.created_ms)
        if env.is_traced:
            self._say(f"{topic}-{partition} [{base}, {base + len(contents)}) written", contents)
        if env.strike_probability and env.rng.random() < self._lost_ack_probability:
            env.counters["acks lost: written, but an error reported"] += 1
            env.say("its ack is lost")
            self._answer(topic, partition, sent, None)
        else:
            if env.strike_probability and env.rng.random() < self._lost_ack_probability:
                # The client retries a batch that the broker has had: nothing is written, the place is not told.
                env.counters["batches sent twice"] += 1
                base = -1
            self._answer(topic, partition, sent, Appended(base))

    def _say(self, what: str, contents: list[Content]) -> None:
        keys = ", ".join((key or b"-").decode(errors="replace").replace("\x00", "~") for key, _, _ in contents)
        self._env.say(f"{self._process.name if self._process else '-'}: {what}: {keys}")

    def _answer(self, topic: str, partition: int, sent: Sent, appended: Appended | None) -> None:
        context = self._process.context if self._process else WORLD
        self._env.loop.call_later(self._env.latency(), self._acked, topic, partition, sent, appended, context=context)

    def _acked(self, topic: str, partition: int, sent: Sent, appended: Appended | None) -> None:
        self._env.strike("an ack")
        if self._process is not None and self._process.is_dead:
            return
        queue = self._queues[topic, partition]
        queue.popleft()
        if sent.ack.done():
            pass  # who waited was cancelled
        elif appended is None:
            sent.ack.set_exception(KafkaTimeoutError())
        else:
            sent.ack.set_result(appended)
        if queue:
            self._send_next(topic, partition)
