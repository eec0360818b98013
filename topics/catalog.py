"""Every topic: its name, key, value, partitions, cleanup, retention and timestamp type. One place, no IO.

``tracker topics create|check`` compare a broker with this list; ARCHITECTURE.md gives the reason for each setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

#: Longer than any open session can be silent: stale changelog writes of a woken zombie stay until all have merged.
MIN_COMPACTION_LAG_MS: Final = 2 * HOUR_MS

#: The largest record batch of the source topic: Kafka's own default, written down because letters depend on it.
MAX_SOURCE_BATCH_BYTES: Final = 1_048_588
#: A letter holds its record whole, in base64: four bytes for three. One that doesn't fit would stop its partition.
MAX_LETTER_BATCH_BYTES: Final = 2 * MAX_SOURCE_BATCH_BYTES


#: From so many replicas on, two have to have a record before it is acknowledged; one may be away meanwhile.
REPLICAS_FOR_TWO_ACKS: Final = 3
MIN_IN_SYNC: Final = "min.insync.replicas"
TIMESTAMP_TYPE: Final = "message.timestamp.type"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be on the broker, with as many partitions as ``TRACKER_PARTITIONS`` says."""

    suffix: str
    key: str
    value: str
    purpose: str
    config: Mapping[str, str] = field(default_factory=dict)

    def config_for(self, replication_factor: int) -> Mapping[str, str]:
        """Return the configuration of a deployment whose topics have so many replicas."""
        if replication_factor < REPLICAS_FOR_TWO_ACKS:
            return self.config
        return {**self.config, MIN_IN_SYNC: "2"}

    def name(self, prefix: str) -> str:
        """Return the full name under a deployment's prefix, such as ``tracker.events``."""
        return prefix + self.suffix


SOURCE: Final = Topic(
    suffix="events",
    key="session id, UTF-8 (ticks: none); partitioner murmur2",
    value="SourceRecord (JSON)",
    purpose="what happened, in the order in which it is numbered",
    config={
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        # The broker's clock orders time: a client's broken clock can't expire anybody's session.
        TIMESTAMP_TYPE: "LogAppendTime",
        "max.message.bytes": str(MAX_SOURCE_BATCH_BYTES),
    },
)
SEQUENCED: Final = Topic(
    suffix="events.sequenced",
    key="the source record's key",
    value="EventData (JSON)",
    purpose="numbered events, on their way to events_v1",
    config={"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), TIMESTAMP_TYPE: "CreateTime"},
)
SESSIONS: Final = Topic(
    suffix="sessions",
    key="the source record's key",
    value="SessionRow (JSON)",
    purpose="session rows, on their way to session_v1",
    config={"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), TIMESTAMP_TYPE: "CreateTime"},
)
USAGE: Final = Topic(
    suffix="usage",
    key="workspace id",
    value="UsageRow (JSON)",
    purpose="what each workspace has sent, by minute, on its way to usage_v1",
    config={"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), TIMESTAMP_TYPE: "CreateTime"},
)
DEAD_LETTERS: Final = Topic(
    suffix="dead-letters",
    key="the rejected record's key, if any",
    value="DeadLetter; with the header retry-mark: RetryMark (JSON)",
    purpose="what could not be taken, with its reason, and what was sent again",
    config={
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        TIMESTAMP_TYPE: "CreateTime",
        "max.message.bytes": str(MAX_LETTER_BATCH_BYTES),
    },
)
CHANGELOG: Final = Topic(
    suffix="sessions-changelog",
    key="session key, or the watermark's key",
    value="session state or watermark (MessagePack)",
    purpose="the session table's truth: local disks are rebuilt from it",
    config={
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(MIN_COMPACTION_LAG_MS),
        TIMESTAMP_TYPE: "CreateTime",
    },
)

HISTORY: Final = Topic(
    suffix="events.history",
    key="what is decided, and about which offset",
    value="Skip (JSON)",
    purpose="what operators have decided about the source log: every fold of it heeds that",
    config={"cleanup.policy": "compact", TIMESTAMP_TYPE: "CreateTime"},
)

LEGACY: Final = Topic(
    suffix="events.legacy",
    key="session id, UTF-8; partitioner murmur2",
    value="SessionQueueMessage or EventQueueMessage (JSON)",
    purpose="the queue of before, for sessions that a migration still sends there",
    config={"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS), TIMESTAMP_TYPE: "LogAppendTime"},
)

#: Where the records of dead letters may be sent again. Any other topic that a letter names is refused.
FRONT_DOORS: Final = (SOURCE, SEQUENCED, SESSIONS, USAGE)
#: All have the same number of partitions: a partition's outputs and states stay in the partition of its events.
CATALOG: Final = (SOURCE, SEQUENCED, SESSIONS, USAGE, DEAD_LETTERS, CHANGELOG, HISTORY, LEGACY)
