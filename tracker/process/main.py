"""The processor's composition root: wires Faust, Kafka clients, stores and tasks together, and runs them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import AIOKafkaConsumer

from topics.catalog import CHANGELOG, DEAD_LETTERS, HISTORY, SEQUENCED, SESSIONS, SOURCE, USAGE
from topics.schemas import Schemas
from tracker.dead_letters.floods import FloodLimit, Floods
from tracker.kafka import admin
from tracker.kafka.access import wait_for_access
from tracker.kafka.clients import never_give_up, new_producer, new_reader, partition_for_key, until_answered
from tracker.observe.internal_token import InternalToken
from tracker.observe.logs import configure_logging
from tracker.observe.pages import serving
from tracker.observe.tracing import tracing_of
from tracker.process import metrics
from tracker.process.assumptions import LogId, check_topics
from tracker.process.checkpoint import Checkpoint
from tracker.process.group_commit import commit_forever
from tracker.process.lease import SessionLease
from tracker.process.queries import SessionPages
from tracker.process.recovery import SessionRecovery
from tracker.process.ticks import tick_forever
from tracker.processes.lock import lock_directory
from tracker.schemas.watched import watched_schemas
from tracker.settings import Settings
from tracker.streaming import faust_internals
from tracker.streaming.app import ChunkApp, add_agent, new_app, run_forever, serve, watched
from tracker.streaming.readiness import Readiness, pages_of
from tracker.streaming.topic_watch import TopicWatch
from tracker.streaming.watches import watch_access, watch_assignment, watch_lag
from tracker.table.store import SessionStore

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

log = structlog.get_logger()

TABLE: Final = "sessions"
TOPICS: Final = (SOURCE, SEQUENCED, SESSIONS, USAGE, DEAD_LETTERS, CHANGELOG, HISTORY)
#: A whole chunk's states fit into one record batch, or nearly; the broker's limit is 1,048,588.
RECORD_BATCH_MAX_BYTES: Final = 900_000
#: One fetch of one partition of the log: enough events of the usual size to fill a chunk.
SOURCE_FETCH_MAX_BYTES: Final = 2_097_152
#: One fetch of one changelog partition: large, because recovery reads nothing else.
CHANGELOG_FETCH_MAX_BYTES: Final = 4_194_304


def run(settings: Settings) -> None:
    """Run one processor until SIGTERM or SIGINT."""
    configure_logging(settings)
    name = f"TRACKER_WORKER_ID={settings.worker_id}"
    refusal = f"another processor runs with {name} on this data directory: give each worker its own TRACKER_WORKER_ID"
    with lock_directory(settings.data_dir / "process" / settings.worker_id, refusal=refusal):
        run_forever(lambda: _traced_main(settings))


async def _traced_main(settings: Settings) -> None:
    async with tracing_of(settings, "process") as tracing:
        await _main(settings, tracing)


async def _main(settings: Settings, tracing: "Tracing | None") -> None:
    app, readiness, token = _app(settings), Readiness(), InternalToken.of(settings)
    sessions = SessionPages(
        app,
        table_name=TABLE,
        source_topic=SOURCE.name(settings.topic_prefix),
        partitions=settings.partitions,
        rules=settings.session_rules,
        token=token,
    )
    host, port = settings.process_host, settings.process_port
    async with serving(
        pages_of(readiness),
        host,
        port,
        token=token,
        port_setting="TRACKER_PROCESS_PORT",
        request_pages={"/session/{id}": sessions.session},
    ):
        await _work(settings, app, sessions, readiness, tracing)
    log.info("processor stopped", worker=settings.worker_id)


async def _work(
    settings: Settings, app: ChunkApp, sessions: SessionPages, readiness: Readiness, tracing: "Tracing | None"
) -> None:
    client_id = f"{settings.topic_prefix}process.{settings.worker_id}"

    def reader() -> AIOKafkaConsumer:
        return new_reader(settings, client_id, max_partition_fetch_bytes=CHANGELOG_FETCH_MAX_BYTES)

    await wait_for_access(settings, "process")
    producer = never_give_up(new_producer(settings, client_id, max_batch_size=RECORD_BATCH_MAX_BYTES))
    tasks = [watched(app, watch_access(app, settings, producer))]
    watch = TopicWatch(settings, TOPICS, readiness, partial(check_topics, settings))
    topics = await watch.wait()
    tasks.append(watched(app, watch.watch()))
    source = topics[SOURCE.name(settings.topic_prefix)]
    await until_answered(settings.kafka_bootstrap, producer.start)
    log_id = await _log_id(settings, topics)
    schemas, schemas_file = watched_schemas(settings.schemas_dir)
    recovery = _recovery(settings, reader, app, log_id, schemas)
    sessions.recovery = recovery
    readiness.leases = app.leases
    floods = Floods(FloodLimit.of(settings), metrics.DEAD_LETTER_FLOODS)
    readiness.more_notes = lambda: floods.lines
    checkpoint = Checkpoint(producer, reader, settings.topic_prefix, floods, tracing)
    add_agent(app, SOURCE.name(settings.topic_prefix), checkpoint.run)

    def started() -> None:
        background = (
            tick_forever(app.leases, producer, settings.tick_interval_ms),
            commit_forever(app, settings.group_commit_interval_ms),
            watch_lag(app, SessionLease, lambda lease: lease.watermark + 1, _show_lag),
            watch_assignment(app, settings, {source.name: source.partitions}),
            *([] if schemas_file is None else [schemas_file.watch()]),
            _learn_partitions(app, CHANGELOG.name(settings.topic_prefix), sessions.routable),
        )
        tasks.extend(watched(app, forever) for forever in background)
        address = f"http://{settings.process_host}:{settings.process_port}"
        log.info("processor started", worker=settings.worker_id, address=address)

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await producer.stop()
        recovery.close()

    await serve(app, recovery, started=started, drain=app.leases.wait_until_idle, stop=stop, stand_by=recovery.stand_by)


async def _log_id(settings: Settings, topics: Mapping[str, admin.BrokerTopic]) -> LogId:
    return LogId(
        await until_answered(settings.kafka_bootstrap, partial(admin.cluster_id, settings)),
        source=topics[SOURCE.name(settings.topic_prefix)].topic_id,
        changelog=topics[CHANGELOG.name(settings.topic_prefix)].topic_id,
        partitions=settings.partitions,
    )


def _app(settings: Settings) -> ChunkApp:
    source, changelog = SOURCE.name(settings.topic_prefix), CHANGELOG.name(settings.topic_prefix)
    app = new_app(
        settings,
        "process",
        source_topics=frozenset({source}),
        data_dir=settings.data_dir / "process" / settings.worker_id / "faust",
        # How other workers reach our pages, for Faust's router. We serve them, from before Kafka answers.
        web_host=settings.process_advertised_host or settings.process_host,
        web_port=settings.process_port,
        table_standby_replicas=settings.standby_replicas,
        consumer_max_fetch_size=SOURCE_FETCH_MAX_BYTES,
    )
    # The table's rows live in our stores. Registering it makes Faust use its own assignor, give the changelog's
    # partitions to the workers of the source's, and route requests to the owner of a key.
    app.Table(
        TABLE,
        key_type=bytes,
        value_type=bytes,
        partitions=settings.partitions,
        changelog_topic=app.topic(
            changelog, key_serializer="raw", value_serializer="raw", acks=False, partitions=settings.partitions
        ),
    )
    return app


def _recovery(
    settings: Settings, reader: Callable[[], AIOKafkaConsumer], app: ChunkApp, log_id: LogId, schemas: Schemas
) -> SessionRecovery:
    changelog = CHANGELOG.name(settings.topic_prefix)

    def standbys() -> frozenset[int]:
        return frozenset(tp.partition for tp in app.assignor.assigned_standbys() if tp.topic == changelog)

    return SessionRecovery(
        state_dir=settings.data_dir / "process" / settings.worker_id / "sessions",
        changelog_topic=changelog,
        partition_of=partial(partition_for_key, partitions=settings.partitions),
        rules=settings.session_rules,
        cache_max_sessions=settings.state_cache_sessions,
        new_reader=reader,
        open_store=partial(SessionStore, cluster_id=log_id.cluster, topic_id=log_id.changelog),
        log_id=log_id,
        seal=settings.forward_seal,
        schemas=schemas,
        history_topic=HISTORY.name(settings.topic_prefix),
        standbys=standbys,
    )


def _show_lag(lags: Sequence[tuple[SessionLease, int]]) -> None:
    metrics.LAG_RECORDS.clear()  # of partitions that have gone elsewhere, their new owner tells
    for lease, lag in lags:
        metrics.LAG_RECORDS.labels(str(lease.partition)).set(lag)


async def _learn_partitions(app: ChunkApp, changelog: str, routable: asyncio.Event) -> None:
    """Ask for the changelog's partitions once: until then Faust's router can't tell where a key belongs."""
    await faust_internals.client_of(app.producer).partitions_for(changelog)
    routable.set()
