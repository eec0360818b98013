"""The engines that are measured, each as a worker of its own on the same source topic with an output topic of its own.

The others do the bare job: a number per session in durable state, an output with acks=all. The process stage does all
that it does in production. What an engine lets one choose is chosen in its favour.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import NewTopic

from benchmarks.measure import Worker
from benchmarks.peers.environments import kafka_streams_command, quix_python
from benchmarks.processor import Processor
from topics.catalog import SEQUENCED, SOURCE
from tracker.kafka.admin import connect
from tracker.settings import Settings

#: How often the others make their state durable: what Kafka Streams itself takes for exactly-once. We do so with every
#: chunk, which is more often. Quix Streams' own default is 5 s; that saves it a quarter of its CPU.
COMMIT_INTERVAL_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Running:
    """A worker to measure, and the topic that it puts numbered events into."""

    worker: Worker
    output_topic: str


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine by its name."""

    name: str
    prepare: Callable[[Settings], Awaitable[Running]]
    #: The part of the events that it gets, where all would take too long.
    share: float = 1.0
    #: Whether it writes in transactions, whose ends take offsets.
    has_markers: bool = False


async def _tracker(settings: Settings) -> Running:
    return Running(Processor(settings), SEQUENCED.name(settings.topic_prefix))


async def _stock_faust(settings: Settings) -> Running:
    arguments = ["-m", "benchmarks.peers.stock_faust", "worker", "--without-web", "-l", "warn"]
    environment = {"BENCH_PARTITIONS": str(settings.partitions)}
    # Faust makes its changelog with as many partitions as its output has, and can't do so before that is there.
    return await _peer(settings, "stock-faust", arguments, environment, changelog="{}-sequences-changelog")


async def _quix_streams(settings: Settings) -> Running:
    arguments = [str(Path(__file__).with_name("quix_streams.py"))]
    return await _peer(settings, "quix-streams", arguments, {}, program=str(quix_python()))


def _kafka_streams(guarantee: str) -> Callable[[Settings], Awaitable[Running]]:
    async def prepare(settings: Settings) -> Running:
        program, *arguments = kafka_streams_command()
        environment = {"BENCH_GUARANTEE": guarantee}
        return await _peer(settings, f"kafka-streams-{guarantee}", arguments, environment, program=program)

    return prepare


async def _peer(
    settings: Settings,
    name: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    *,
    changelog: str = "",
    **options: str,
) -> Running:
    app_id = f"{settings.topic_prefix}{name}"
    output, data_dir = f"{app_id}.sequenced", settings.data_dir / name
    topics = [NewTopic(output, settings.partitions, 1)]
    if changelog:
        compacted = {"cleanup.policy": "compact"}
        topics.append(NewTopic(changelog.format(app_id), settings.partitions, 1, topic_configs=compacted))
    async with connect(settings) as admin:
        await admin.create_topics(topics)
    every = {
        "BENCH_APP_ID": app_id,
        "BENCH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "BENCH_SOURCE_TOPIC": SOURCE.name(settings.topic_prefix),
        "BENCH_OUTPUT_TOPIC": output,
        "BENCH_DATA_DIR": str(data_dir / "state"),
        "BENCH_COMMIT_INTERVAL_MS": str(COMMIT_INTERVAL_MS),
    }
    return Running(Worker(name, arguments, {**every, **environment}, data_dir, **options), output)


#: What all others are held against, in this order.
TRACKER: Final = Engine("tracker", _tracker)
PEERS: Final = (
    Engine("stock_faust", _stock_faust, share=0.1),
    Engine("quix_streams", _quix_streams),
    Engine("kafka_streams", _kafka_streams("at_least_once")),
    Engine("kafka_streams_exactly_once", _kafka_streams("exactly_once_v2"), has_markers=True),
)
