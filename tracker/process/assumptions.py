"""A processor's assumptions about its topics, and about the states that it takes over. A false one stops it."""

from dataclasses import dataclass, replace

from topics.catalog import SOURCE, TIMESTAMP_TYPE
from tracker.errors import ConfigurationError
from tracker.kafka.admin import connect, describe_configs
from tracker.kafka.topic_checks import require_log_time, require_partitions
from tracker.sessions.state import Watermark
from tracker.settings import Settings
from tracker.streaming.topic_watch import Found


@dataclass(frozen=True, slots=True)
class LogId:
    """Which log is folded: states of another one must not be taken for this one's. Empty: not known."""

    cluster: str = ""
    source: str = ""
    changelog: str = ""
    #: Among how many partitions keys are spread; 0: not known.
    partitions: int = 0

    def require_same(self, mark: Watermark, topic: str) -> None:
        """Hold the log against the one that a partition's states were folded from.

        Raises:
            ConfigurationError: it is another one; says what to do.
        """
        if mark.topic_id and self.source and mark.topic_id != self.source:
            raise ConfigurationError(
                f"{topic} was deleted and made again, and the sessions are those of the topic before it: delete the "
                "other topics of its prefix too and run tracker topics create, or take another TRACKER_TOPIC_PREFIX "
                "(docs/production-kafka.md)"
            )
        if mark.partitions and self.partitions and mark.partitions != self.partitions:
            raise ConfigurationError(
                f"the sessions of {topic} are spread among {mark.partitions} partitions, TRACKER_PARTITIONS is "
                f"{self.partitions}, which would number live sessions from 1 again: set it to {mark.partitions} "
                "(docs/decisions/0043-the-spread-of-keys-stays.md)"
            )


async def check_topics(settings: Settings, found: Found) -> None:
    """Look at what the processor can't work with.

    Raises:
        ConfigurationError: a topic has too few partitions, or the broker does not stamp the source's records.
        RetryableError: Kafka can't be reached.
    """
    require_partitions(settings, found)
    source = found.get(SOURCE.name(settings.topic_prefix))
    if source is None:
        return
    try:
        async with connect(settings) as admin:
            config = (await describe_configs(admin, {source.name: [TIMESTAMP_TYPE]}))[source.name]
    except ConfigurationError:
        return  # we may not look: records that the broker does not stamp become dead letters all the same
    require_log_time(settings, replace(source, config=config))
