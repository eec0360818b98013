"""The world that a fault strikes: brokers of its own, workers, load, and someone who watches the topics."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.faults.load import Load
from tests.faults.tail import Tail
from tests.faults.worker import Worker
from tests.fixtures.cluster import KafkaCluster
from tests.patience import PATIENCE_SECONDS
from topics.catalog import SOURCE
from tracker.kafka import admin
from tracker.kafka.clients import new_reader
from tracker.settings import Settings

POLL_SECONDS = 0.05
#: A slow machine works off a backlog of minutes.
LIMIT_SECONDS = 3.0 * PATIENCE_SECONDS
#: How many events must have come out before anything is struck.
WARM_EVENTS = 2_000

GROUP_SESSION_TIMEOUT_SECONDS = 4.0
SESSION_TIMEOUT_SECONDS = 2
#: The shortest there is, so that closed sessions are forgotten within a run.
STUB_RETENTION_SECONDS = 60
DUPLICATE_WINDOW_SECONDS = 60
#: The steady sessions come to it, so that the cap is at work too.
SESSION_MAX_EVENTS = 50


class FaultFailedError(Exception):
    """What must hold does not, or the fault did not strike as it should."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is under way."""

    workers: int = 3
    partitions: int = 6
    events_per_second: int = 2_000


@dataclass(slots=True)
class Strike:
    """One time that a fault struck: what was under way, and how long until all accepted by then was through."""

    what: str
    began: float
    backlog: int
    recovered_seconds: float = 0.0


@dataclass(slots=True)
class World:
    """Everything that a fault may touch."""

    settings: Settings
    size: Size
    cluster: KafkaCluster
    data_dir: Path
    rng: random.Random
    load: Load
    tail: Tail
    reader: AIOKafkaConsumer
    environment: dict[str, str]
    workers: dict[str, Worker] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    #: The load and the tail: neither may end before its time.
    background: list[asyncio.Task] = field(default_factory=list)

    def new_worker(self, disk: Path | None = None) -> Worker:
        """Return a worker of a new name that has not been started; its state lies on ``disk``, if that is given."""
        name = f"worker-{len(self.workers) + 1}"
        worker = self.workers[name] = Worker(name, self.data_dir / name, self.environment, disk)
        return worker

    def up(self) -> list[Worker]:
        """The workers that run, as far as we know."""
        return [worker for worker in self.workers.values() if worker.is_up]

    async def victim(self) -> Worker:
        """Pick a worker that has partitions to fold, once all partitions are with someone."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            leases = {worker: await asyncio.to_thread(worker.leases) for worker in self.up()}
            if sum(leases.values()) == self.size.partitions:
                return self.rng.choice([worker for worker, count in leases.items() if count])
            await self.calm(POLL_SECONDS)
        raise FaultFailedError(f"partitions are with nobody: there is nothing to strike; {self._state()}")

    async def struck(self, what: str, *, note: Mapping[str, Any] | None = None) -> Strike:
        """Note that the fault strikes now, and make sure that it strikes work under way.

        ``note``: what the victim itself said when it was struck, in the middle of a chunk.
        """
        if note is None:
            await self.until(lambda: self.tail.backlog() > 0, f"work under way for: {what}")
            strike = Strike(what, time.monotonic(), self.tail.backlog())
        else:
            strike = Strike(what, note["at"], max(self.tail.backlog(), 1))
        self.strikes.append(strike)
        return strike

    async def recovered(self, strike: Strike, since: float | None = None) -> None:
        """Wait until all that has been accepted by now is through, in every partition, and the outputs go on."""
        ends = await self._log_ends()
        await self.until(lambda: self.tail.has_passed(ends), f"recovery from: {strike.what}")
        strike.recovered_seconds = time.monotonic() - (since or strike.began)

    async def _log_ends(self) -> dict[int, int]:
        topic = SOURCE.name(self.settings.topic_prefix)
        tps = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
        return {tp.partition: end for tp, end in (await self.reader.end_offsets(tps)).items()}

    async def until(self, condition: Callable[[], bool], what: str, timeout_seconds: float = LIMIT_SECONDS) -> None:
        """Wait for a condition while all workers that should run do run."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            self._check_alive()
            if time.monotonic() > deadline:
                raise FaultFailedError(f"not within {timeout_seconds:.0f} s: {what}; {self._state()}")
            await asyncio.sleep(POLL_SECONDS)

    def _check_alive(self) -> None:
        for worker in self.up():
            if worker.status is not None:
                raise FaultFailedError(f"{worker.worker_id} ended by itself\n{worker.last_words()}")
        for task in self.background:
            if task.done():
                task.result()

    async def until_leased(self, worker: Worker) -> None:
        """Wait until a worker has partitions to fold."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not await asyncio.to_thread(worker.leases):
            if time.monotonic() > deadline:
                raise FaultFailedError(f"{worker.worker_id} was given no partition\n{worker.last_words()}")
            await self.calm(POLL_SECONDS)

    async def calm(self, seconds: float) -> None:
        """Let things run, as long as they do."""
        until = time.monotonic() + seconds
        await self.until(lambda: time.monotonic() >= until, "time passes")

    async def drain(self) -> None:
        """End the load, and wait until every session is closed and everything is out."""
        self.load.stop()
        sending = self.background.pop(0)
        await self.until(sending.done, "all of the load acked")
        await self.until(lambda: self.tail.is_drained, "all sessions closed, all outputs there")

    async def start_workers(self, workers: list[Worker]) -> None:
        """Start workers and wait until the load flows through all partitions."""
        for worker in workers:
            worker.start()
        await self.until(self._is_warm, "outputs of every partition")

    def _is_warm(self) -> bool:
        return self.tail.accepted >= WARM_EVENTS and all(self.tail.done(number) > 0 for number in self.tail.partitions)

    def _state(self) -> str:
        behind = {
            number: f"done {self.tail.done(number)} of {reference.last_offset}, {reference.open_sessions} open"
            for number, reference in self.tail.references.items()
        }
        words = "\n".join(f"{worker.worker_id}: {worker.last_words()}" for worker in self.up())
        return f"{behind}\n{words}"


@asynccontextmanager
async def new_world(
    cluster: KafkaCluster, data_dir: Path, prefix: str, size: Size, rng: random.Random
) -> AsyncIterator[World]:
    """Make the topics and the workers (not started yet), start load and tail; end everything afterwards."""
    settings = Settings(
        kafka_bootstrap=cluster.bootstrap,
        topic_prefix=prefix,
        partitions=size.partitions,
        replication_factor=cluster.replicas,
        data_dir=data_dir,
        session_timeout_seconds=SESSION_TIMEOUT_SECONDS,
        closed_stub_retention_seconds=STUB_RETENTION_SECONDS,
        duplicate_window_seconds=DUPLICATE_WINDOW_SECONDS,
        session_max_events=SESSION_MAX_EVENTS,
        kafka_session_timeout_ms=int(GROUP_SESSION_TIMEOUT_SECONDS * 1000),
        tick_interval_ms=200,
        group_commit_interval_ms=500,
    )
    await admin.create_topics(settings)
    world = World(
        settings=settings,
        size=size,
        cluster=cluster,
        data_dir=data_dir,
        rng=rng,
        load=Load(settings, random.Random(rng.random()), size.events_per_second),
        tail=Tail(settings),
        reader=new_reader(settings, "faults-ends"),
        environment=_environment(settings, cluster),
    )
    await world.reader.start()
    world.background = [asyncio.create_task(world.load.run()), asyncio.create_task(world.tail.run())]
    try:
        yield world
    finally:
        for task in world.background:
            task.cancel()
        await asyncio.gather(*world.background, return_exceptions=True)
        await world.reader.stop()
        for worker in world.workers.values():
            worker.end()


def _environment(settings: Settings, cluster: KafkaCluster) -> dict[str, str]:
    """The settings that differ from the defaults, as a worker reads them. Workers come through the proxies."""
    settings = settings.model_copy(update={"kafka_bootstrap": cluster.proxied_bootstrap})
    return {f"TRACKER_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
