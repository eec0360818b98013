"""What the local broker is told: one KRaft node for one machine, small and quick to start."""

from pathlib import Path
from typing import Final

from tracker.local.ports import LOOPBACK

#: The log cleaner's default of 128 MB would be a quarter of the heap.
CLEANER_BUFFER_BYTES: Final = 16_777_216
#: Kafka's default of 50 partitions for each internal topic only slows one node down.
INTERNAL_TOPIC_PARTITIONS: Final = 4
#: Tests evict workers sooner than Kafka's default of 6 s allows.
MIN_SESSION_TIMEOUT_MS: Final = 1_000
#: A killed broker's successor may register only once the controller gave the dead one up: 9 s by default.
BROKER_SESSION_TIMEOUT_MS: Final = 3_000
BROKER_HEARTBEAT_INTERVAL_MS: Final = 500


def server_properties(*, port: int, controller_port: int, log_dir: Path) -> str:
    """Return the text of ``server.properties``."""
    internal = INTERNAL_TOPIC_PARTITIONS
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "broker.session.timeout.ms": BROKER_SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": BROKER_HEARTBEAT_INTERVAL_MS,
        "log.dirs": log_dir,
        "log.cleaner.dedupe.buffer.size": CLEANER_BUFFER_BYTES,
        # Topics come from the catalog; a misspelt name is an error, not a topic.
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": internal,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": internal,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": internal,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": MIN_SESSION_TIMEOUT_MS,
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())
