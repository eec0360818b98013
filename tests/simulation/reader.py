"""A double of aiokafka's consumer without a group: assigned and sought by hand."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaTimeoutError

from tests.simulation.broker import Broker, PartitionLog, Record
from tests.simulation.environment import Environment
from tests.simulation.loop import WORLD

T = TypeVar("T")

ASK_TIMEOUT_SECONDS = 40.0
ASK_RETRY_SECONDS = 0.5
POLL_SECONDS = 0.05


async def ask(env: Environment, broker: Broker, answer: Callable[[], T]) -> T:
    """Ask the broker something; the answer is what holds when the question arrives."""
    future: asyncio.Future[T] = env.loop.create_future()
    deadline = env.loop.time() + ASK_TIMEOUT_SECONDS

    def reply(result: T) -> None:
        if not future.done():  # who asked may have been cancelled
            future.set_result(result)

    def arrive() -> None:
        if broker.is_up:
            env.loop.call_later(env.latency(), reply, answer(), context=WORLD)
        elif env.loop.time() < deadline:
            env.loop.call_later(ASK_RETRY_SECONDS, arrive, context=WORLD)
        elif not future.done():
            future.set_exception(KafkaTimeoutError())

    env.loop.call_later(env.latency(), arrive, context=WORLD)
    return await future


async def news(
    env: Environment, logs: Sequence[PartitionLog], deadline: float, ending: "asyncio.Future[None] | None" = None
) -> None:
    """Wait until something was appended, as a broker holds a fetch open; or until ``ending`` has ended."""
    appended = asyncio.Event()
    if ending is not None:
        ending.add_done_callback(lambda _: appended.set())
    for log in logs:
        log.on_news.append(appended.set)
    timer = env.loop.call_at(deadline, appended.set, context=WORLD)
    await appended.wait()
    timer.cancel()
    for log in logs:
        log.on_news.remove(appended.set)


class Reader:
    """What production code uses of ``AIOKafkaConsumer`` where it reads a changelog."""

    def __init__(self, env: Environment, broker: Broker) -> None:
        self._env = env
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        await self._env.point("recovery begins")

    async def stop(self) -> None:
        """Nothing is held."""

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)
        self._paused = set()

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"No current assignment for partition {partition}")
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def highwater(self, partition: TopicPartition) -> int:
        return self._broker.log(*partition).end

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return await ask(self._env, self._broker, lambda: dict.fromkeys(partitions, 0))

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return await ask(self._env, self._broker, lambda: {tp: self._broker.log(*tp).end for tp in partitions})

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return what has arrived of some partitions: not always all that there is."""
        env = self._env
        await env.point("in recovery")
        deadline = env.loop.time() + timeout_ms / 1000
        while True:
            await asyncio.sleep(env.latency())
            wanted = list(partitions) or list(self._positions)
            behind = [tp for tp in wanted if self._positions.get(tp, 0) < self._broker.log(*tp).end]
            found = self._fetched(wanted, max_records or 1_000) if self._up else {}
            if found or env.loop.time() >= deadline:
                return found
            if behind and self._up:
                await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - env.loop.time())))
            else:
                await news(env, [self._broker.log(*tp) for tp in wanted], deadline)

    @property
    def _up(self) -> bool:
        return self._broker.is_up

    def _fetched(self, partitions: list[TopicPartition], max_records: int) -> dict[TopicPartition, list[Record]]:
        found: dict[TopicPartition, list[Record]] = {}
        for tp in partitions:
            if tp in self._paused or tp not in self._positions or self._env.rng.random() < 0.3:
                continue
            most = min(max_records, self._env.rng.choice((1, 5, 50, 1_000)))
            records, position = self._broker.log(*tp).read(self._positions[tp], most)
            self._positions[tp] = position
            if records:
                found[tp] = records
        return found
