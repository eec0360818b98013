"""One process of a replay: folds its share of the partitions, one after the other, and tells its parent of it.

It reports to stdout, a JSON line a chunk. SIGTERM and SIGINT end it after the chunk at hand; nothing is lost.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import msgspec
from aiokafka import AIOKafkaConsumer
from aiolimiter import AsyncLimiter

from topics.catalog import HISTORY
from tracker.errors import ConfigurationError, NotFoundError
from tracker.history.reading import Skips, read_skips
from tracker.kafka.admin import describe_broker
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.kafka.log_reader import new_range_reader
from tracker.processes.signals import stop_event
from tracker.replay.generation import Generation
from tracker.replay.partition import PartitionReplay, Progress
from tracker.replay.plan import PartitionPlan, Plan
from tracker.replay.source import FETCH_MAX_BYTES
from tracker.replay.targets import CompareTarget, DatasourceTarget, Ingest, Target, TopicTarget
from tracker.schemas.files import read_schemas
from tracker.settings import Settings
from tracker.table.store import SessionStore

#: Ended because it was told to, with partitions left to do.
EXIT_INTERRUPTED = 130
RECORD_BATCH_MAX_BYTES = 900_000


async def run_worker(
    settings: Settings, name: str, partitions: Sequence[int], *, max_rate: int | None, ingest: Ingest | None
) -> int:
    """Replay partitions of a generation and return the exit code: 0, or EXIT_INTERRUPTED."""
    generation = Generation(settings, name)
    plan = generation.plan
    if plan is None:
        raise NotFoundError(f"there is no generation {name!r}")
    stopping = stop_event().is_set
    schemas = read_schemas(settings.schemas_dir)
    limiter = None if max_rate is None else AsyncLimiter(max_rate, 1)
    async with AsyncExitStack() as stack:
        new_target = await _targets(settings, generation, plan, ingest, stack)
        reader = await stack.enter_async_context(_reader(settings))
        # With nothing to read it would be stopped before its own tasks have begun, which aiokafka does not survive.
        await asyncio.sleep(0)
        skips = await _skips(settings, reader, [each.partition for each in plan.partitions])
        for partition_plan in plan.partitions:
            number = partition_plan.partition
            if number not in partitions or generation.result(number) is not None:
                continue
            target = new_target(partition_plan)
            store = SessionStore(generation.store_path(number))
            replay = PartitionReplay(
                plan=partition_plan,
                topic=plan.source_topic,
                partition_of=partial(partition_for_key, partitions=settings.partitions),
                rules=plan.rules,
                seal=settings.forward_seal,
                skips=skips.get(number, {}),
                schemas=schemas,
                workspace=plan.request.workspace,
                store=store,
                target=target,
                report=_tell_parent,
                limiter=limiter,
            )
            try:
                finished = await replay.run(reader, stopping)
            finally:
                await target.close()
                store.close()
            if not finished:
                return EXIT_INTERRUPTED
            comparisons = list(target.comparisons.values()) if isinstance(target, CompareTarget) else []
            generation.save_result(number, comparisons)
    return 0


async def _skips(settings: Settings, reader: AIOKafkaConsumer, partitions: Sequence[int]) -> dict[int, Skips]:
    """Return the records to skip. The logs of imports and of earlier releases have no history, so none are skipped."""
    history = (await describe_broker(settings)).get(HISTORY.name(settings.topic_prefix))
    return {} if history is None else await read_skips(reader, history.name, partitions)


async def _targets(
    settings: Settings, generation: Generation, plan: Plan, ingest: Ingest | None, stack: AsyncExitStack
) -> Callable[[PartitionPlan], Target]:
    """Return what makes a partition's target; clients that targets share live as long as the stack."""

    def reader() -> AIOKafkaConsumer:
        return _reader(settings)

    match plan.request.target:
        case "compare":
            return lambda each: CompareTarget(reader, settings.topic_prefix, each.partition)
        case "datasource":
            if ingest is None:
                raise ConfigurationError("a datasource target needs a Tinybird client")
            return lambda _: DatasourceTarget(
                ingest, plan.sessions_from_ms, plan.sessions_to_ms, plan.rules.passive_grace_ms
            )
        case "topics":
            client_id = f"{settings.topic_prefix}replay.{generation.name}"
            producer = new_producer(settings, client_id, max_batch_size=RECORD_BATCH_MAX_BYTES)
            await stack.enter_async_context(producer)
            return lambda each: TopicTarget(producer, reader, generation.topic_prefix, each.partition)


def _reader(settings: Settings) -> AIOKafkaConsumer:
    client_id = f"{settings.topic_prefix}replay"
    return new_range_reader(
        settings, client_id, max_partition_fetch_bytes=FETCH_MAX_BYTES, fetch_max_bytes=2 * FETCH_MAX_BYTES
    )


def _tell_parent(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()
