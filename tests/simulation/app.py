"""What Faust is to a stage, for one simulated process. Fetch loop, agents, recovery and leases are the real code.

Methods of ``ChunkConsumer`` and ``LeaseRecovery`` are borrowed as they are; only what talks to Kafka or Faust below
them is a double.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from tests.simulation.broker import Broker, Record
from tests.simulation.environment import Environment
from tests.simulation.group import Group, Member
from tests.simulation.loop import Killed, Process
from tests.simulation.reader import ask, news
from tracker.streaming.consumer_thread import REVOCATION_DRAIN_SECONDS
from tracker.streaming.lease import LeaseBook
from tracker.streaming.recovery import LeaseOpener, LeaseRecovery
from tracker.streaming.transport import ChunkConsumer

FETCH_MAX_RECORDS = (1, 3, 10, 40, 1_000)


class FetchThread:
    """The consumer's thread: fetches from where it is told, and commits."""

    def __init__(self, env: Environment, broker: Broker, group: Group) -> None:
        self._env = env
        self._broker = broker
        self._group = group
        self.member: Member | None = None
        self.assignment: frozenset[TopicPartition] | None = None

    async def fetch(
        self, wanted: Mapping[TopicPartition, int], timeout_seconds: float, until: Coroutine[Any, Any, None]
    ) -> dict[TopicPartition, tuple[Sequence[Record], int]]:
        ending = asyncio.ensure_future(until)
        try:
            return await self._fetch(wanted, self._env.loop.time() + timeout_seconds, ending)
        finally:
            ending.cancel()

    async def _fetch(
        self, wanted: Mapping[TopicPartition, int], deadline: float, ending: "asyncio.Future[None]"
    ) -> dict[TopicPartition, tuple[Sequence[Record], int]]:
        env = self._env
        while True:
            await asyncio.sleep(env.latency())
            held = self.assignment
            if held is None or not wanted:
                return {}
            found = self._fetched(wanted, held) if self._broker.is_up else {}
            if found:
                await env.point("after a fetch")
            if found or ending.done() or env.loop.time() >= deadline:
                return found
            await news(env, [self._broker.log(*tp) for tp in wanted], deadline, ending)

    def _fetched(
        self, wanted: Mapping[TopicPartition, int], held: frozenset[TopicPartition]
    ) -> dict[TopicPartition, tuple[Sequence[Record], int]]:
        found = {}
        for tp, offset in wanted.items():
            records, position = self._broker.log(*tp).read(offset, self._env.rng.choice(FETCH_MAX_RECORDS))
            if tp in held and records:
                found[tp] = (records, position)
        return found

    async def commit_group(self, offsets: Mapping[TopicPartition, Any]) -> bool:
        await self._env.point("before a commit")
        member = self.member
        taken = await ask(
            self._env, self._broker, lambda: member is not None and self._group.commit(member, dict(offsets))
        )
        await self._env.point("after a commit")
        return taken

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Any]:
        committed = self._group.committed
        return await ask(self._env, self._broker, lambda: {tp: committed[tp] for tp in partitions if tp in committed})

    async def log_starts(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return await ask(self._env, self._broker, lambda: dict.fromkeys(partitions, 0))


class Recovery(LeaseRecovery):
    """The real recovery task, without Faust's flow to resume."""

    def __init__(self, app: Any, opener: LeaseOpener) -> None:
        self.app = app
        self.completed = asyncio.Event()
        self._opener = opener
        self._task = None

    async def _resume_flow(self) -> None:
        await asyncio.sleep(0)


class Message:
    """What Faust hands an agent."""

    __slots__ = ("message",)

    def __init__(self, message: Any) -> None:
        self.message = message


class Stream:
    """One partition's messages, for its own instance of an agent."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()

    async def events(self) -> AsyncIterator[Message]:
        while True:
            yield await self.queue.get()


class App:
    """One process of a stage: what ``ChunkApp`` is in production."""

    consumer_generation_id = 0
    should_stop = False
    consumer_stopped_errors = (asyncio.InvalidStateError,)
    # The real fetch loop.
    getmany = ChunkConsumer.getmany
    _chunk_message = ChunkConsumer._chunk_message
    feed_agents = ChunkConsumer.feed_agents

    def __init__(
        self,
        env: Environment,
        process: Process,
        group: Group,
        thread: FetchThread,
        *,
        source_topics: frozenset[str],
        chunk_max_records: int,
        new_lease_book: Callable[[], LeaseBook],
    ) -> None:
        self._env = env
        self._process = process
        self._group = group
        self._thread = thread
        self._streams: dict[tuple[str, int], Stream] = {}
        self._agents: dict[str, Callable[[Stream], Any]] = {}
        self.app = self
        self.leases = new_lease_book()
        self._leases = self.leases
        self.source_topics = source_topics
        self.chunk_max_records = chunk_max_records
        self.recovery: Recovery | None = None
        self._orders: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.standbys: frozenset[int] = frozenset()

    @property
    def chunk_consumer(self) -> "App":
        return self

    @property
    def thread(self) -> FetchThread:
        return self._thread

    def topic(self, name: str, **_: Any) -> str:
        return name

    def agent(self, channel: str, **_: Any) -> Callable[[Any], Any]:
        def register(agent: Any) -> Any:
            self._agents[channel] = agent
            return agent

        return register

    def die(self, what: str, error: BaseException) -> NoReturn:
        self._env.say(f"EXITS: {what}: {error!r}")
        kind = "after a failed request" if isinstance(error, KafkaError) else f"after {type(error).__name__}"
        self._env.counters[f"exits {kind}"] += 1
        self._process.die(error)
        raise Killed

    def start(self, opener: LeaseOpener, stand_by: Callable[[], Awaitable[None]] | None = None) -> None:
        """Join the group, and feed agents from then on."""
        self.recovery = Recovery(self, opener)
        self.recovery.stand_by = stand_by
        self._thread.member = Member(self._process.name, self._process, self._orders.put_nowait)
        self._group.join(self._thread.member)
        self._process.spawn(self._obey())
        self._process.spawn(self.feed_agents(self))

    async def _obey(self) -> None:
        """Do what the coordinator says, one thing after the other, as aiokafka does."""
        assert self.recovery is not None
        assert self._thread.member is not None
        while True:
            kind, what = await self._orders.get()
            if kind == "rebalance":
                if what is None:
                    await self._finish_chunks_at_hand()
                self._thread.assignment = None
                self.leases.revoke_all()
                self.recovery.on_partitions_revoked(set())
                self._group.join(self._thread.member)
            else:
                generation, assignment, standbys, answered = what
                if answered == self._thread.member.joins:
                    self._thread.assignment, self.standbys = assignment, standbys
                    await self.recovery.on_rebalance(set(assignment), set(), set(), generation)

    async def _finish_chunks_at_hand(self) -> None:
        """Do what the real rebalance listener does before partitions are given up."""
        self.leases.pause_fetching()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.leases.wait_until_idle(), REVOCATION_DRAIN_SECONDS)

    async def callback(self, message: Any) -> None:
        """Hand a message to its partition's agent."""
        key = (message.topic, message.partition)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream()
            self._process.spawn(self._agents[message.topic](stream))
        stream.queue.put_nowait(Message(message))
