"""The sink's composition root: wires Faust, the Tinybird client and a pipeline per datasource, and runs them."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS
from tracker.kafka import new_producer
from tracker.letter_rate import LetterLimit, LetterRate
from tracker.log import configure_logging
from tracker.settings import Settings
from tracker.sink.batches import Covered, Limits
from tracker.sink.dead_letters import DeadLetters
from tracker.sink.lease import SinkLeaseOpener
from tracker.sink.pipeline import Pipeline
from tracker.sink.tinybird import TinybirdClient
from tracker.streaming.app import ChunkApp, add_agent, new_app, run_forever, serve, watched

log = structlog.get_logger()

#: Which output topic feeds which datasource.
DATASOURCES: Final = ((SEQUENCED, "events_v1"), (SESSIONS, "session_v1"))


def run(settings: Settings) -> None:
    """Run one sink until SIGTERM or SIGINT."""
    configure_logging(settings)
    run_forever(lambda: _main(settings))


async def _main(settings: Settings) -> None:
    topics = {topic.name(settings.topic_prefix): datasource for topic, datasource in DATASOURCES}
    app = new_app(
        settings,
        "sink",
        source_topics=frozenset(topics),
        data_dir=settings.data_dir / "sink" / settings.worker_id,
    )
    producer = new_producer(settings, f"{settings.topic_prefix}sink.{settings.worker_id}")
    letter_rate = LetterRate(LetterLimit.of(settings))
    dead_letters = DeadLetters(producer, DEAD_LETTERS.name(settings.topic_prefix), letter_rate)
    limits = Limits(settings.sink_batch_max_rows, settings.sink_batch_max_bytes, settings.sink_batch_window_ms)
    tasks: list[asyncio.Task[None]] = []

    async def commit(covers: Sequence[Covered]) -> None:
        await _commit(app, covers)

    async with producer, TinybirdClient(settings) as client:
        pipelines = [
            Pipeline(datasource, limits, client, reject=dead_letters.send, commit=commit)
            for datasource in topics.values()
        ]
        for topic, pipeline in zip(topics, pipelines, strict=True):
            add_agent(app, topic, pipeline.take)

        def started() -> None:
            tasks.extend(watched(app, pipeline.run()) for pipeline in pipelines)
            log.info("sink started", tinybird=settings.tinybird_url)

        async def drain() -> None:
            await asyncio.gather(*(pipeline.flush() for pipeline in pipelines))

        async def stop() -> None:
            for task in tasks:
                task.cancel()

        await serve(app, SinkLeaseOpener(lambda: app.chunk_consumer.thread), started=started, drain=drain, stop=stop)
    log.info("sink stopped")


async def _commit(app: ChunkApp, covers: Sequence[Covered]) -> None:
    """Commit offsets, each with the last source position seen before it: what a restart needs to drop repeats."""
    offsets = {covered.lease.tp: OffsetAndMetadata(covered.next_offset, str(covered.last_seen)) for covered in covers}
    try:
        await app.chunk_consumer.thread.commit_group(offsets)
    except KafkaError as error:
        # The rows are written; the next commit covers these too, and rows that come again collapse.
        log.warning("offsets could not be committed; the next commit covers them", error=repr(error))
