"""A double of Kafka's group coordinator: eager rebalances, session time-outs, static members, committed offsets."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from tests.simulation.broker import Broker
from tests.simulation.environment import Environment
from tests.simulation.loop import WORLD, Process

SESSION_TIMEOUT_SECONDS = 3.0
#: How long a rebalance waits for members that have not joined.
REBALANCE_TIMEOUT_SECONDS = 5.0
#: A member learns from its next heartbeat that something has changed.
HEARTBEAT_SECONDS = 0.75
#: How many of the partitions that a worker does not have it follows.
STANDBY_PROBABILITY = 0.3


class Member:
    """What the coordinator knows of one member, and how to reach it."""

    def __init__(self, name: str, process: Process, on_message: Callable[[tuple[str, Any]], None]) -> None:
        self.name = name
        self.process = process
        self.assignment: set[TopicPartition] = set()
        self.standbys: frozenset[int] = frozenset()
        self.generation = -1
        #: How often it asked to join, and which of these requests an assignment answers: later ones void it.
        self.joins = 0
        self.answered = 0
        self._on_message = on_message
        self._inbox: deque[tuple[str, Any]] = deque()

    def tell(self, env: Environment, delay_seconds: float, kind: str, what: Any) -> None:
        """Send a message. They arrive in order; a stopped process takes them when it wakes, some time later."""
        self._inbox.append((kind, what))
        self.process.call_later(delay_seconds, self._received, env)

    def _received(self, env: Environment) -> None:
        self.process.call_later(env.latency(), self._take)

    def _take(self) -> None:
        self._on_message(self._inbox.popleft())


class Group:
    """One consumer group over some topics."""

    def __init__(self, env: Environment, broker: Broker, name: str, topics: Sequence[str]) -> None:
        self._env = env
        self._broker = broker
        self.name = name
        self._partitions = [TopicPartition(topic, n) for topic in topics for n in range(broker.partitions)]
        self._members: dict[str, Member] = {}
        self._joined: set[str] = set()
        self._is_rebalancing = False
        self._rebalance_number = 0
        self.generation = 0
        self.committed: dict[TopicPartition, Any] = {}

    def join(self, member: Member) -> None:
        """A member asks to take part. Under a name that is known it takes that member's place."""
        member.joins += 1
        self._env.loop.call_later(self._env.latency(), self._arrive, member, member.joins, context=WORLD)

    def _arrive(self, member: Member, join: int) -> None:
        if join < member.answered:
            return  # a later one is here already; on one connection it would not have been overtaken
        member.answered = join
        known = self._members.get(member.name)
        if known is not None and known is not member and not self._is_rebalancing:
            member.assignment, member.standbys = known.assignment, known.standbys
            self._members[member.name] = member
            self._env.say(f"{self.name}: {member.name} is back in its own place")
            self._assign(member)
            return
        self._members[member.name] = member
        if known is member and self._is_rebalancing:
            self._joined.add(member.name)
            self._complete_if_all_joined()
        else:
            self._joined.discard(member.name)
            self.rebalance(f"{member.name} joins", joiner=member)
            self._joined.add(member.name)
            self._complete_if_all_joined()

    def miss(self, process: Process) -> None:
        """A process stopped answering: without a sign of life within the session time-out it is evicted."""

        def check() -> None:
            for name, member in list(self._members.items()):
                if member.process is process and not process.is_running:
                    del self._members[name]
                    self._env.counters["members evicted"] += 1
                    member.tell(self._env, self._env.rng.random() * HEARTBEAT_SECONDS, "rebalance", "evicted")
                    self.rebalance(f"{name} is evicted")

        self._env.loop.call_later(SESSION_TIMEOUT_SECONDS, check, context=WORLD)

    def rebalance(self, why: str, joiner: Member | None = None) -> None:
        """Take everything from everybody, and wait until all have joined again."""
        if self._is_rebalancing:
            self._complete_if_all_joined()
            return
        self._env.counters["rebalances"] += 1
        self._env.say(f"{self.name}: rebalance: {why}")
        self._is_rebalancing = True
        self._rebalance_number += 1
        self._joined = set()
        for member in self._members.values():
            if member is joiner:
                continue
            member.tell(self._env, self._env.rng.random() * HEARTBEAT_SECONDS, "rebalance", None)
        number = self._rebalance_number
        self._env.loop.call_later(REBALANCE_TIMEOUT_SECONDS, self._give_up_waiting, number, context=WORLD)

    def _give_up_waiting(self, number: int) -> None:
        if self._is_rebalancing and number == self._rebalance_number:
            for name in set(self._members) - self._joined:
                self._env.counters["members evicted"] += 1
                del self._members[name]
            self._complete()

    def _complete_if_all_joined(self) -> None:
        if self._is_rebalancing and self._joined >= set(self._members):
            self._complete()

    def _complete(self) -> None:
        self._is_rebalancing = False
        self.generation += 1
        members = list(self._members.values())
        self._env.rng.shuffle(members)
        for number, member in enumerate(members):
            member.assignment = set(self._partitions[number :: len(members)])
            others = {tp.partition for tp in self._partitions} - {tp.partition for tp in member.assignment}
            member.standbys = frozenset(n for n in sorted(others) if self._env.rng.random() < STANDBY_PROBABILITY)
        for member in members:
            self._assign(member)

    def _assign(self, member: Member) -> None:
        member.generation = self.generation
        assigned = ", ".join(f"{tp.topic}-{tp.partition}" for tp in sorted(member.assignment))
        self._env.say(f"{self.name}: generation {self.generation}: {member.name} gets {assigned or 'nothing'}")
        what = (self.generation, frozenset(member.assignment), member.standbys, member.answered)
        member.tell(self._env, self._env.latency(), "assigned", what)

    def is_owner(self, process: Process, partition: int) -> bool:
        """Whether a process has a partition in the present generation."""
        member = self._members.get(process.name)
        return (
            member is not None
            and member.process is process
            and any(tp.partition == partition for tp in member.assignment)
        )

    def commit(self, member: Member, offsets: Mapping[TopicPartition, Any]) -> bool:
        """Take offsets from a member of the present generation only."""
        if self._members.get(member.name) is not member or member.generation != self.generation or self._is_rebalancing:
            return False
        self.committed.update(offsets)
        return True
