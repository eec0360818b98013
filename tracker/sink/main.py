"""The sink's composition root: wires Faust, the Tinybird client and a pipeline per datasource, and runs them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata

from topics.catalog import DEAD_LETTERS, SEQUENCED
from topics.catalog import SESSIONS as SESSIONS_TOPIC
from topics.catalog import USAGE as USAGE_TOPIC
from tracker.dead_letters.floods import FloodLimit, Floods
from tracker.errors import ConfigurationError
from tracker.kafka.access import wait_for_access
from tracker.kafka.clients import never_give_up, new_producer, until_answered
from tracker.observe.internal_token import InternalToken
from tracker.observe.logs import configure_logging
from tracker.observe.pages import serving
from tracker.observe.tracing import tracing_of
from tracker.processes.lock import lock_directory
from tracker.settings import Settings
from tracker.sink import metrics
from tracker.sink.batches import Covered, Limits
from tracker.sink.dead_letters import DeadLetters
from tracker.sink.health import DatasourceHealth, details_of, problems_of
from tracker.sink.lease import SinkLease, SinkLeaseOpener
from tracker.sink.pipeline import Bounds, Pipeline
from tracker.streaming.app import ChunkApp, add_agent, new_app, run_forever, serve, watched
from tracker.streaming.readiness import Readiness, pages_of
from tracker.streaming.topic_watch import Found, TopicWatch
from tracker.streaming.watches import watch_access, watch_assignment, watch_lag
from tracker.tinybird.client import EVENTS, SESSIONS, USAGE, TinybirdClient
from tracker.tinybird_clients import tinybird_client

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

log = structlog.get_logger()

#: Which output topic feeds which datasource.
DATASOURCES: Final = ((SEQUENCED, EVENTS), (SESSIONS_TOPIC, SESSIONS), (USAGE_TOPIC, USAGE))
TOPICS: Final = (SEQUENCED, SESSIONS_TOPIC, USAGE_TOPIC, DEAD_LETTERS)
#: Rows that the sink holds when partitions are revoked are shipped and committed within this time. Rows that are not
#: are sent by the next owner.
HAND_OVER_SECONDS: Final = 3.0


def run(settings: Settings) -> None:
    """Run one sink until SIGTERM or SIGINT."""
    configure_logging(settings)
    name = f"TRACKER_WORKER_ID={settings.worker_id}"
    refusal = f"another sink runs with {name} on this data directory: give each worker its own TRACKER_WORKER_ID"
    with lock_directory(settings.data_dir / "sink" / settings.worker_id, refusal=refusal):
        run_forever(lambda: _traced_main(settings))


async def _traced_main(settings: Settings) -> None:
    async with tracing_of(settings, "sink") as tracing:
        await _main(settings, tracing)


async def _main(settings: Settings, tracing: "Tracing | None") -> None:
    app = new_app(
        settings,
        "sink",
        source_topics=frozenset(_datasources(settings)),
        data_dir=settings.data_dir / "sink" / settings.worker_id,
    )
    producer = never_give_up(new_producer(settings, f"{settings.topic_prefix}sink.{settings.worker_id}"))
    floods = Floods(FloodLimit.of(settings), metrics.DEAD_LETTER_FLOODS)
    dead_letters = DeadLetters(producer, DEAD_LETTERS.name(settings.topic_prefix), floods)
    client, readiness = tinybird_client(settings), Readiness()
    readiness.more_notes = lambda: floods.lines
    pipelines = _pipelines(settings, app, client, dead_letters, tracing)

    def health() -> list[DatasourceHealth]:
        return [pipeline.health() for pipeline in pipelines]

    host, port = settings.sink_host, settings.sink_port
    pages = pages_of(readiness, lambda: problems_of(health()), lambda: details_of(health()))
    token = InternalToken.of(settings)
    async with serving(pages, host, port, token=token, port_setting="TRACKER_SINK_PORT"), client:
        await _work(settings, app, producer, pipelines, readiness)
    log.info("sink stopped")


async def _work(
    settings: Settings,
    app: ChunkApp,
    producer: AIOKafkaProducer,
    pipelines: Sequence[Pipeline],
    readiness: Readiness,
) -> None:
    topics = _datasources(settings)
    opener = SinkLeaseOpener(lambda: app.chunk_consumer.thread, topics)
    watch = TopicWatch(settings, TOPICS, readiness, partial(_check_topics, settings))
    tasks: list[asyncio.Task[None]] = []

    async def revoked(*_: Any, **__: Any) -> None:
        await asyncio.gather(*(pipeline.hand_over(HAND_OVER_SECONDS) for pipeline in pipelines))

    def started() -> None:
        background = (
            *(pipeline.run() for pipeline in pipelines),
            watch_lag(app, SinkLease, lambda lease: lease.committed_offset, _lag_shown(topics)),
            watch_assignment(app, settings, {name: watch.found[name].partitions for name in topics}),
        )
        tasks.extend(watched(app, forever) for forever in background)
        log.info("sink started", tinybird=settings.tinybird_url)

    async def drain() -> None:
        await asyncio.gather(*(pipeline.flush() for pipeline in pipelines))

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await producer.stop()

    app.on_partitions_revoked.connect(revoked, weak=False)
    for topic, pipeline in zip(topics, pipelines, strict=True):
        add_agent(app, topic, pipeline.take)
    await wait_for_access(settings, "sink")
    tasks.append(watched(app, watch_access(app, settings, producer)))
    opener.topic_ids = {name: topic.topic_id for name, topic in (await watch.wait()).items()}
    tasks.append(watched(app, watch.watch()))
    await until_answered(settings.kafka_bootstrap, producer.start)
    readiness.leases = app.leases
    await serve(app, opener, started=started, drain=drain, stop=stop)


def _datasources(settings: Settings) -> dict[str, str]:
    """Return the datasource of each output topic."""
    return {topic.name(settings.topic_prefix): datasource for topic, datasource in DATASOURCES}


async def _check_topics(settings: Settings, found: Found) -> None:
    letters = found.get(DEAD_LETTERS.name(settings.topic_prefix))
    for topic in found.values():
        if letters is not None and letters.partitions < topic.partitions:
            raise ConfigurationError(
                f"{letters.name} has {letters.partitions} partitions, {topic.name} has {topic.partitions}: run tracker "
                "topics create, which adds the missing ones, and start again"
            )


def _pipelines(
    settings: Settings,
    app: ChunkApp,
    client: TinybirdClient,
    dead_letters: DeadLetters,
    tracing: "Tracing | None",
) -> list[Pipeline]:
    async def commit(covers: Sequence[Covered]) -> None:
        await commit_covers(app, covers)

    limits = Limits(
        settings.sink_batch_max_rows,
        min(settings.sink_batch_max_bytes, settings.tinybird_request_max_bytes),
        settings.sink_batch_window_ms,
    )
    bounds = Bounds(settings.sink_max_batches_in_flight, settings.sink_max_held_bytes)
    return [
        Pipeline(datasource, limits, bounds, client, reject=dead_letters.send, commit=commit, tracing=tracing)
        for _, datasource in DATASOURCES
    ]


async def commit_covers(app: ChunkApp, covers: Iterable[Covered]) -> None:
    """Commit offsets, each with the last source position seen before it: what a restart needs to drop repeats."""
    offsets = {
        covered.lease.tp: OffsetAndMetadata(covered.next_offset, covered.lease.metadata(covered.last_seen))
        for covered in covers
    }
    await app.chunk_consumer.thread.commit_group(offsets)


def _lag_shown(topics: Mapping[str, str]) -> Callable[[Sequence[tuple[SinkLease, int]]], None]:
    """Return what shows how far behind the partitions are that this worker takes, and how many those are."""

    def show(lags: Sequence[tuple[SinkLease, int]]) -> None:
        metrics.LAG_RECORDS.clear()  # of partitions that have gone elsewhere, their new owner tells
        for lease, lag in lags:
            metrics.LAG_RECORDS.labels(topics[lease.topic], str(lease.partition)).set(lag)
        counts = Counter(topics[lease.topic] for lease, _ in lags)
        for datasource in topics.values():
            metrics.PARTITIONS.labels(datasource).set(counts[datasource])

    return show
