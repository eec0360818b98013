"""The stages as they run in one simulated process, wired as their ``main`` modules wire them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import Gauge

from tests.simulation.app import App, FetchThread
from tests.simulation.broker import CHANGELOG_TOPIC, PREFIX, SOURCE_TOPIC, Broker
from tests.simulation.disk import Disk, MemoryDatabase
from tests.simulation.environment import Environment
from tests.simulation.group import Group
from tests.simulation.loop import Process
from tests.simulation.parts import Parts
from tests.simulation.plan import Plan
from tests.simulation.producer import Producer
from tests.simulation.reader import Reader
from tests.simulation.tinybird import Client, Tinybird
from topics.catalog import DEAD_LETTERS
from tracker.dead_letters.floods import FloodLimit, Floods
from tracker.kafka.clients import partition_for_key
from tracker.process.group_commit import commit_forever
from tracker.process.ticks import tick_forever
from tracker.sink.batches import Limits
from tracker.sink.dead_letters import DeadLetters
from tracker.sink.main import DATASOURCES, commit_covers
from tracker.sink.pipeline import Bounds, Pipeline
from tracker.streaming.app import add_agent, watched

STATE_DIR = Path("sessions")
#: Shown to nobody.
FLOODS = Gauge("floods", "Dead letters", ["producer", "workspace"], registry=None)
#: Rubbish is wanted here.
NO_LIMIT = FloodLimit(window_records=1_000, min_letters=1_000, max_percent=100, stops=False)

SINK_BOUNDS = Bounds(max_batches_in_flight=3, max_held_bytes=20_000)


@dataclass(frozen=True, slots=True)
class World:
    """What all processes of one run share."""

    env: Environment
    plan: Plan
    parts: Parts
    broker: Broker


class Stage:
    """A process that is running, and its app."""

    def __init__(self, process: Process, app: App) -> None:
        self.process = process
        self.app = app

    def leases(self) -> list[Any]:
        return self.app.leases.live()


def start_processor(world: World, group: Group, disk: Disk, process: Process) -> Stage:
    """Wire one processor. Runs in the process's context."""
    env, plan, parts, broker = world.env, world.plan, world.parts, world.broker
    producer = Producer(env, broker, plan.changelog_batch_bytes, plan.lost_ack_probability)
    producer.is_owner = partial(group.is_owner, process)
    app = App(
        env, process, group, FetchThread(env, broker, group),
        source_topics=frozenset({SOURCE_TOPIC}),
        chunk_max_records=plan.chunk_max_records,
        new_lease_book=parts.lease_book,
    )  # fmt: skip

    def reader() -> Any:
        return Reader(env, broker)

    def database(path: Path) -> MemoryDatabase:
        return MemoryDatabase(
            path, disk, lambda: env.sync_point("before the store"), lambda: env.sync_point("after the store")
        )

    recovery = parts.recovery(
        state_dir=STATE_DIR,
        changelog_topic=CHANGELOG_TOPIC,
        partition_of=partial(partition_for_key, partitions=plan.partitions),
        rules=plan.rules,
        cache_max_sessions=plan.cache_max_sessions,
        new_reader=reader,
        open_store=lambda path: parts.store(path, database, now_ms=lambda: env.now_ms),
        standbys=lambda: app.standbys,
    )
    checkpoint = parts.checkpoint(producer, reader, PREFIX, Floods(NO_LIMIT, FLOODS))
    add_agent(app, SOURCE_TOPIC, checkpoint.run)  # type: ignore[arg-type]
    app.start(recovery, recovery.stand_by)
    for forever in (
        tick_forever(app.leases, producer, plan.tick_interval_ms),  # type: ignore[arg-type]
        commit_forever(app, plan.group_commit_interval_ms),  # type: ignore[arg-type]
    ):
        watched(app, forever)  # type: ignore[arg-type]
    return Stage(process, app)


def start_sink(world: World, group: Group, tinybird: Tinybird, process: Process) -> Stage:
    """Wire one sink. Runs in the process's context."""
    env, plan, parts, broker = world.env, world.plan, world.parts, world.broker
    thread = FetchThread(env, broker, group)
    topics = {topic.name(PREFIX): datasource for topic, datasource in DATASOURCES}
    app = App(
        env, process, group, thread,
        source_topics=frozenset(topics),
        chunk_max_records=plan.chunk_max_records,
        new_lease_book=parts.lease_book,
    )  # fmt: skip
    producer = Producer(env, broker, plan.changelog_batch_bytes, plan.lost_ack_probability)
    dead_letters = DeadLetters(producer, DEAD_LETTERS.name(PREFIX), Floods(NO_LIMIT, FLOODS))  # type: ignore[arg-type]
    limits = Limits(plan.sink_max_rows, plan.sink_max_bytes, plan.sink_window_ms)
    client = Client(env, tinybird)

    async def commit(covers: Any) -> None:
        await commit_covers(app, covers)  # type: ignore[arg-type]

    for topic, datasource in topics.items():
        pipeline: Pipeline = parts.pipeline(
            datasource, limits, SINK_BOUNDS, client, reject=dead_letters.send, commit=commit
        )
        add_agent(app, topic, pipeline.take)  # type: ignore[arg-type]
        watched(app, pipeline.run())  # type: ignore[arg-type]
    app.start(parts.sink_opener(lambda: thread, topics))
    return Stage(process, app)
