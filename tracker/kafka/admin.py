"""Topic administration: hold a broker to ``topics/catalog.py``: make what is missing, compare the rest."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import stamina
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from topics.catalog import CATALOG, Topic
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.access import explain
from tracker.kafka.clients import client_options
from tracker.settings import Settings

#: How long an answer from the cluster may take before we say that it can't be reached.
ANSWER_TIMEOUT_SECONDS: Final = 15.0
#: A created topic is usable once every partition has a leader, some tens of milliseconds later.
VISIBLE_TIMEOUT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05

Verdict = Literal["created", "exists"]


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the broker has it. ``replicas`` is that of the partition with the fewest."""

    name: str
    partitions: int
    replicas: int
    led_partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the catalog and the broker, with what mends it."""

    topic: str
    setting: str
    expected: str
    found: str
    mend: str


@asynccontextmanager
async def connect(
    settings: Settings, *, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS
) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started admin client.

    Raises:
        ConfigurationError: the cluster does not let us in, or denies something.
        RetryableError: nothing that speaks Kafka answers, or it stops answering within the block.
    """
    admin = AIOKafkaAdminClient(**client_options(settings, "tracker-admin"))
    try:
        async with asyncio.timeout(timeout_seconds):
            await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise await explain(settings, error) from error
    finally:
        await admin.close()


async def create_topics(settings: Settings, topics: Sequence[Topic] = CATALOG) -> dict[str, Verdict]:
    """Make the topics that are missing and wait until they can be used. Existing ones are left alone.

    Returns:
        What was done, by topic name, in the catalog's order.

    Raises:
        ConfigurationError: the cluster refuses a topic as configured.
        RetryableError: Kafka can't be reached, or a new topic got no leaders in time.
    """
    async with connect(settings) as admin:
        existing = await _describe(admin)
        missing = [topic for topic in topics if topic.name(settings.topic_prefix) not in existing]
        created = await _create(admin, settings, missing) if missing else set()
        await _wait_until_led(admin, {topic.name(settings.topic_prefix) for topic in topics})
    names = (topic.name(settings.topic_prefix) for topic in topics)
    return {name: "created" if name in created else "exists" for name in names}


async def check_topics(settings: Settings) -> list[Drift]:
    """Compare the broker's topics with the catalog and with this deployment's settings.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    found = await describe_broker(settings, configs=True)
    return [drift for topic in CATALOG for drift in _compare(topic, settings, found)]


async def describe_broker(settings: Settings, *, configs: bool = False) -> dict[str, BrokerTopic]:
    """Return the catalog's topics that exist on the broker, by full name, with the configuration in force if asked for.

    Raises:
        ConfigurationError: the cluster does not let us in, or does not tell the configuration.
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        wanted = {topic.name(settings.topic_prefix): topic for topic in CATALOG}
        existing = {name: topic for name, topic in (await _describe(admin)).items() if name in wanted}
        if not existing:
            return {}
        found = await _describe_configs(admin, {name: wanted[name] for name in existing}) if configs else {}
    return {
        name: BrokerTopic(name, topic.partitions, topic.replicas, topic.led_partitions, found.get(name, {}))
        for name, topic in existing.items()
    }


async def partition_counts(settings: Settings, begins_with: str) -> dict[str, int]:
    """Return how many partitions each topic has whose full name begins so, whether the catalog has it or not.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        found = await _describe(admin)
    return {name: topic.partitions for name, topic in found.items() if name.startswith(begins_with)}


async def delete_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Delete those of the named topics that exist, and return which those were.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        found = sorted(set(names) & set(await _describe(admin)))
        if found:
            await admin.delete_topics(found)
    return found


async def cluster_id(settings: Settings) -> str:
    """Return the id that the cluster gave itself when it was formatted.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


async def committed_offsets(settings: Settings, group: str) -> dict[TopicPartition, int]:
    """Return the offsets that a consumer group has committed, by partition. Raises what ``committed`` raises."""
    return {tp: at.offset for tp, at in (await committed(settings, group)).items()}


async def committed(settings: Settings, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return what a consumer group has committed, with its metadata, by partition.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        # A broker that has just been started makes its offsets topic when it is first asked.
        async for attempt in stamina.retry_context(
            on=GroupCoordinatorNotAvailableError, timeout=ANSWER_TIMEOUT_SECONDS
        ):
            with attempt:
                found = await admin.list_consumer_group_offsets(group)
    return {TopicPartition(*tp): at for tp, at in found.items() if at.offset >= 0}


async def _describe(admin: AIOKafkaAdminClient) -> dict[str, BrokerTopic]:
    # All topics are asked for: asking for one that is missing by its name makes some brokers create it.
    described = {}
    for topic in await admin.describe_topics():
        partitions = topic["partitions"]
        described[topic["topic"]] = BrokerTopic(
            name=topic["topic"],
            partitions=len(partitions),
            replicas=min((len(partition["replicas"]) for partition in partitions), default=0),
            led_partitions=sum(partition["leader"] >= 0 for partition in partitions),
        )
    return described


async def _describe_configs(admin: AIOKafkaAdminClient, topics: Mapping[str, Topic]) -> dict[str, dict[str, str]]:
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(topic.config, ""))
        for name, topic in topics.items()
    ]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for resource in response.to_object()["resources"]:
            if resource["error_code"]:
                raise for_code(resource["error_code"])(f"the configuration of {resource['resource_name']}")
            entries = resource["config_entries"]
            configs[resource["resource_name"]] = {e["config_names"]: e["config_value"] for e in entries}
    return configs


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: list[Topic]) -> set[str]:
    new = [
        NewTopic(
            topic.name(settings.topic_prefix),
            settings.partitions,
            settings.replication_factor,
            topic_configs=dict(topic.config),
        )
        for topic in missing
    ]
    response = await admin.create_topics(new)
    created = set()
    for result in response.to_object()["topic_errors"]:
        if not result["error_code"]:
            created.add(result["topic"])
        elif result["error_code"] != TopicAlreadyExistsError.errno:  # someone else was faster: just as well
            error = for_code(result["error_code"])
            reason = result["error_message"] or error.__name__
            hint = " See tracker topics acls" if issubclass(error, TopicAuthorizationFailedError) else ""
            raise ConfigurationError(f"Kafka refuses to create {result['topic']}: {reason}{hint}")
    return created


async def _wait_until_led(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
    while True:
        topics = await _describe(admin)
        led = {topic.name for topic in topics.values() if topic.led_partitions == topic.partitions}
        waiting = sorted(names - led)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise RetryableError(f"no leader after {VISIBLE_TIMEOUT_SECONDS:.0f} s for: {', '.join(waiting)}")
        await asyncio.sleep(POLL_SECONDS)


def _compare(topic: Topic, settings: Settings, found: Mapping[str, BrokerTopic]) -> Iterable[Drift]:
    name = topic.name(settings.topic_prefix)
    on_broker = found.get(name)
    if on_broker is None:
        yield Drift(name, "topic", "exists", "missing", "tracker topics create")
        return
    if on_broker.partitions != settings.partitions:
        # Adding partitions sends the keys elsewhere, so sessions would be numbered twice: never offer that.
        mend = f"set TRACKER_PARTITIONS={on_broker.partitions}, or a new TRACKER_TOPIC_PREFIX and create"
        yield Drift(name, "partitions", str(settings.partitions), str(on_broker.partitions), mend)
    if on_broker.replicas < settings.replication_factor:
        mend = "kafka-reassign-partitions.sh with a longer replica list for each partition"
        yield Drift(name, "replicas", str(settings.replication_factor), str(on_broker.replicas), mend)
    for key, expected in topic.config.items():
        value = on_broker.config.get(key, "unset")
        if _as_set(value) != _as_set(expected):
            yield Drift(name, key, expected, value, alter_command(settings, name, key, expected))


def alter_command(settings: Settings, topic: str, key: str, value: str) -> str:
    """Return the command of Kafka's own tools that sets one configuration key of a topic."""
    quoted = f"[{value}]" if "," in value else value
    return (
        f"kafka-configs.sh --bootstrap-server {settings.kafka_bootstrap} --alter"
        f" --entity-type topics --entity-name {topic} --add-config {key}={quoted}"
    )


def _as_set(value: str) -> set[str]:
    return {part.strip() for part in value.split(",")}
