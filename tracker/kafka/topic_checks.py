"""Finds where the broker's topics differ from ``topics/catalog.py`` and the settings, and says how to correct it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from topics.catalog import CATALOG, MIN_IN_SYNC, SOURCE, TIMESTAMP_TYPE, Topic
from tracker.errors import ConfigurationError
from tracker.kafka.admin import BrokerTopic, describe_broker
from tracker.kafka.spread import require_spread, spread_of
from tracker.settings import Settings


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the catalog and the broker, with the way to correct it."""

    topic: str
    setting: str
    expected: str
    found: str
    mend: str


async def check_topics(settings: Settings) -> list[Drift]:
    """Compare the broker's topics with the catalog and with this deployment's settings.

    Raises:
        RetryableError: Kafka can't be reached.
    """
    found = await describe_broker(settings, configs=True)
    spread = await spread_of(settings) if found else settings.partitions
    drifts = [drift for topic in CATALOG for drift in _compare(topic, settings, found, spread)]
    if spread != settings.partitions:
        mend, name = f"set TRACKER_PARTITIONS={spread}", SOURCE.name(settings.topic_prefix)
        drifts.append(Drift(name, "TRACKER_PARTITIONS", str(spread), str(settings.partitions), mend))
    return drifts


async def require_usable_topics(settings: Settings) -> None:
    """Check the topics for faults with which no stage can work.

    Raises:
        ConfigurationError: the broker does not stamp the source's records, it has too few partitions, or the processors
            spread keys among another number of them than TRACKER_PARTITIONS.
        RetryableError: Kafka can't be reached.
    """
    found = await describe_broker(settings, configs=True)
    await require_spread(settings)
    require_partitions(settings, found)
    source = found.get(SOURCE.name(settings.topic_prefix))
    if source is not None:
        require_log_time(settings, source)


def require_partitions(settings: Settings, found: Mapping[str, BrokerTopic]) -> None:
    """Hold the partition counts against each other.

    The source may have more partitions than TRACKER_PARTITIONS: their records are forwarded to the partitions of
    their keys. The other topics need as many as the source: outputs stay in the partition of their source record.

    Raises:
        ConfigurationError: a topic has too few; says what to do.
    """
    source = found.get(SOURCE.name(settings.topic_prefix))
    if source is None:
        return
    if source.partitions < settings.partitions:
        raise ConfigurationError(
            f"{source.name} has {source.partitions} partitions, TRACKER_PARTITIONS is {settings.partitions}: "
            f"set it to {source.partitions}"
        )
    for topic in found.values():
        if topic.partitions < source.partitions:
            raise ConfigurationError(
                f"{topic.name} has {topic.partitions} partitions, {source.name} has {source.partitions}: run tracker "
                "topics create, which adds the missing ones, and start again"
            )


def require_log_time(settings: Settings, source: BrokerTopic) -> None:
    """Look whether the broker stamps the source's records: a producer's clock could end every session at once.

    Raises:
        ConfigurationError: it does not; says what to do.
    """
    expected = SOURCE.config[TIMESTAMP_TYPE]
    found = source.config.get(TIMESTAMP_TYPE, expected)
    if found != expected:
        raise ConfigurationError(
            f"{source.name} has {TIMESTAMP_TYPE}={found}, so its producers' clocks would decide when sessions end: "
            f"run {alter_command(settings, source.name, TIMESTAMP_TYPE, expected)}"
        )


def _compare(topic: Topic, settings: Settings, found: Mapping[str, BrokerTopic], spread: int) -> Iterable[Drift]:
    name = topic.name(settings.topic_prefix)
    on_broker = found.get(name)
    if on_broker is None:
        yield Drift(name, "topic", "exists", "missing", "tracker topics create")
        return
    yield from _compare_partitions(topic, on_broker, settings, found, spread)
    if on_broker.replicas < settings.replication_factor:
        mend = "kafka-reassign-partitions.sh with a longer replica list for each partition"
        yield Drift(name, "replicas", str(settings.replication_factor), str(on_broker.replicas), mend)
    for key, expected in topic.config_for(settings.replication_factor).items():
        value = on_broker.config.get(key, "unset")
        if key == MIN_IN_SYNC and value.isdigit() and int(value) >= int(expected):
            continue
        if _as_set(value) != _as_set(expected):
            yield Drift(name, key, expected, value, alter_command(settings, name, key, expected))


def _compare_partitions(
    topic: Topic, on_broker: BrokerTopic, settings: Settings, found: Mapping[str, BrokerTopic], spread: int
) -> Iterable[Drift]:
    """Yield the faults of a topic's partitions. Kafka never removes a partition, so the settings follow the source."""
    source = found.get(SOURCE.name(settings.topic_prefix))
    if topic is SOURCE or source is None:
        expected, mend = spread, f"set TRACKER_PARTITIONS={on_broker.partitions}"
    else:
        expected, mend = source.partitions, "tracker topics create"
    if on_broker.partitions < expected:
        yield Drift(on_broker.name, "partitions", str(expected), str(on_broker.partitions), mend)


def alter_command(settings: Settings, topic: str, key: str, value: str) -> str:
    """Return the command of Kafka's own tools that sets one configuration key of a topic."""
    quoted = f"[{value}]" if "," in value else value
    return (
        f"kafka-configs.sh --bootstrap-server {settings.kafka_bootstrap} --alter"
        f" --entity-type topics --entity-name {topic} --add-config {key}={quoted}"
    )


def _as_set(value: str) -> set[str]:
    return {part.strip() for part in value.split(",")}
