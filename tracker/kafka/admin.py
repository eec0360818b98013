"""Topic administration: compare the broker's topics with ``topics/catalog.py``, and create the missing ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NoReturn

import stamina
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from topics.catalog import CATALOG, SOURCE, Topic
from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.access import explain
from tracker.kafka.aiokafka_internals import AdminClient
from tracker.kafka.clients import client_options
from tracker.kafka.requests import DescribeTopics, topic_id_of
from tracker.settings import Settings

#: How long an answer from the cluster may take before we say that it can't be reached.
ANSWER_TIMEOUT_SECONDS: Final = 15.0
#: A created topic is usable once every broker knows a leader of each partition, some tens of milliseconds later.
VISIBLE_TIMEOUT_SECONDS: Final = 30.0
#: Kafka's name for the state of a group whose members all know their partitions.
STABLE: Final = "Stable"
POLL_SECONDS: Final = 0.05

Verdict = Literal["created", "exists", "grown"]


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the broker has it. ``replicas`` is that of the partition with the fewest."""

    name: str
    partitions: int
    replicas: int
    led_partitions: int
    #: Tells it from another topic of the same name; empty on brokers before Kafka 2.8.
    topic_id: str = ""
    config: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def connect(settings: Settings, *, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> AsyncIterator[AdminClient]:
    """Yield a started admin client.

    Raises:
        ConfigurationError: the cluster does not let us in, or denies something.
        RetryableError: nothing that speaks Kafka answers, or it stops answering within the block.
    """
    admin = AdminClient(**client_options(settings, "tracker-admin"))
    try:
        async with asyncio.timeout(timeout_seconds):
            await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise await explain(settings, error) from error
    finally:
        await admin.close()


async def create_topics(settings: Settings, topics: Sequence[Topic] = CATALOG) -> dict[str, Verdict]:
    """Make the topics that are missing, and wait until every broker that answers knows them and their leaders.

    All get as many partitions as the source topic has, or TRACKER_PARTITIONS if it is new. Existing topics with fewer
    partitions than that get the missing ones; nothing else of an existing topic is changed.

    Returns:
        The change made to each topic, by its name, in the catalog's order.

    Raises:
        ConfigurationError: the cluster refuses a topic as configured.
        RetryableError: Kafka can't be reached, or a new topic got no leaders in time.
    """
    names = {topic.name(settings.topic_prefix): topic for topic in topics}
    async with connect(settings) as admin:
        source = SOURCE.name(settings.topic_prefix)
        existing = await _describe(admin, {*names, source})
        partitions = existing[source].partitions if source in existing else settings.partitions
        missing = [name for name in names if name not in existing]
        created = await _create(admin, settings, {name: names[name] for name in missing}, partitions)
        grown = [name for name in names if name in existing and existing[name].partitions < partitions]
        await _grow(admin, grown, partitions)
        await _wait_until_led(admin, dict.fromkeys(names, partitions))
    done: dict[str, Verdict] = dict.fromkeys(names, "exists")
    return done | dict.fromkeys(grown, "grown") | dict.fromkeys((name for name in names if name in created), "created")


async def describe_broker(settings: Settings, *, configs: bool = False) -> dict[str, BrokerTopic]:
    """Return the catalog's topics that exist on the broker, by full name, with the configuration in force if asked for.

    A topic that we may not see looks as if it did not exist.

    Raises:
        ConfigurationError: the cluster does not let us in, or does not tell the configuration.
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        wanted = {topic.name(settings.topic_prefix): topic for topic in CATALOG}
        found = await _describe(admin, wanted)
        if not found or not configs:
            return found
        keys = {name: wanted[name].config_for(settings.replication_factor) for name in found}
        of_topic = await describe_configs(admin, keys)
    return {name: replace(topic, config=of_topic.get(name, {})) for name, topic in found.items()}


async def partition_counts(settings: Settings, begins_with: str) -> dict[str, int]:
    """Return how many partitions each topic has whose full name begins so, whether the catalog has it or not.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        names = [name for name in await admin.list_topics() if name.startswith(begins_with)]
        found = await _describe(admin, names)
    return {name: topic.partitions for name, topic in found.items()}


async def delete_topics(settings: Settings, names: Iterable[str]) -> list[str]:
    """Delete those of the named topics that exist, and return which those were.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        found = sorted(await _describe(admin, set(names)))
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


async def assigned_partitions(settings: Settings, group: str) -> set[TopicPartition] | None:
    """Return the partitions that a consumer group's members are assigned, or None while it rebalances.

    Raises:
        ConfigurationError: we may not see the group.
        RetryableError: Kafka can't be reached.
    """
    async with connect(settings) as admin:
        (response,) = await admin.describe_consumer_groups([group])
    (found,) = response.to_object()["groups"]
    if found["error_code"] or found["state"] != STABLE:
        return None
    decoded = (ConsumerProtocolMemberAssignment.decode(member["member_assignment"]) for member in found["members"])
    return {tp for assignment in decoded for tp in assignment.partitions()}


async def describe_configs(admin: AdminClient, keys: Mapping[str, Collection[str]]) -> dict[str, dict[str, str]]:
    """Return the configuration in force of some topics, as far as the given keys go, by topic name.

    Raises:
        KafkaError: a broker does not answer, or denies it.
    """
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(wanted, "")) for name, wanted in keys.items()
    ]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for resource in response.to_object()["resources"]:
            if resource["error_code"]:
                raise for_code(resource["error_code"])(f"the configuration of {resource['resource_name']}")
            entries = resource["config_entries"]
            configs[resource["resource_name"]] = {e["config_names"]: e["config_value"] for e in entries}
    return configs


async def _describe(admin: AdminClient, names: Collection[str]) -> dict[str, BrokerTopic]:
    return _described(await admin.ask(DescribeTopics(sorted(names))))


def _described(answer: Any) -> dict[str, BrokerTopic]:
    described = {}
    for topic in answer.to_object()["topics"]:
        if topic["error_code"] and not topic["partitions"]:
            continue  # it does not exist, or we may not see it
        partitions = topic["partitions"]
        described[topic["topic"]] = BrokerTopic(
            name=topic["topic"],
            partitions=len(partitions),
            replicas=min((len(partition["replicas"]) for partition in partitions), default=0),
            led_partitions=sum(partition["leader"] >= 0 for partition in partitions),
            topic_id=topic_id_of(topic),
        )
    return described


async def _create(admin: AdminClient, settings: Settings, missing: Mapping[str, Topic], partitions: int) -> set[str]:
    replicas = settings.replication_factor
    new = [
        NewTopic(name, partitions, replicas, topic_configs=dict(topic.config_for(replicas)))
        for name, topic in missing.items()
    ]
    response = await admin.create_topics(new) if new else None
    created = set()
    for result in response.to_object()["topic_errors"] if response else ():
        if not result["error_code"]:
            created.add(result["topic"])
        elif result["error_code"] != TopicAlreadyExistsError.errno:  # another one was faster, which is as good
            _refuse(f"to create {result['topic']}", result)
    return created


async def _grow(admin: AdminClient, names: Sequence[str], partitions: int) -> None:
    response = await admin.create_partitions({name: NewPartitions(partitions) for name in names}) if names else None
    for result in response.to_object()["topic_errors"] if response else ():
        if result["error_code"]:
            _refuse(f"to add partitions to {result['topic']}", result)


def _refuse(what: str, result: Mapping[str, Any]) -> NoReturn:
    error = for_code(result["error_code"])
    reason = result["error_message"] or error.__name__
    hint = " See tracker topics acls" if issubclass(error, TopicAuthorizationFailedError) else ""
    raise ConfigurationError(f"Kafka refuses {what}: {reason}{hint}")


async def _wait_until_led(admin: AdminClient, partitions: Mapping[str, int]) -> None:
    deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
    while True:
        answers = await admin.ask_each(DescribeTopics(sorted(partitions)))
        waiting = not_led([_described(answer) for answer in answers], partitions)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise RetryableError(f"no leader after {VISIBLE_TIMEOUT_SECONDS:.0f} s for: {', '.join(waiting)}")
        await asyncio.sleep(POLL_SECONDS)


def not_led(known: Sequence[Mapping[str, BrokerTopic]], partitions: Mapping[str, int]) -> list[str]:
    """Return the topics that can't be used yet: a broker does not know of them, of a leader, or knows an older topic.

    Args:
        known: The topics that each broker knows, by name. A broker learns of a new topic at its own time.
        partitions: How many partitions each topic must have.
    """
    waiting = []
    for name, wanted in partitions.items():
        led = [topics[name] for topics in known if name in topics and topics[name].led_partitions >= wanted]
        if len(led) < len(known) or len({topic.topic_id for topic in led}) > 1:
            waiting.append(name)
    return sorted(waiting)
