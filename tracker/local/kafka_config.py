"""What a local broker is told: a KRaft node for one machine, small and quick to start."""

from collections.abc import Mapping
from dataclasses import dataclass
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
SCRAM_MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Guard:
    """Makes the broker accept only logins over TLS, each with the rights of its ACLs. For tests of our clients.

    Who comes through the second, open listener on ``open_port`` may do everything: it is for making ACLs. The third, on
    ``mutual_port``, knows its clients by certificates of ``client_ca``, and shows a certificate for another host.
    """

    #: PEM: the broker's key and certificate.
    keystore: Path
    #: Passwords by user name, for PLAIN and SCRAM alike.
    users: Mapping[str, str]
    open_port: int
    mutual_port: int
    client_ca: Path
    #: PEM: key and certificate for a name that the broker is not reached by.
    misnamed_keystore: Path

    def properties(self, port: int) -> dict[str, object]:
        """Return the properties that differ from those of an open broker."""
        logins = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        security = "org.apache.kafka.common.security"
        listener = "listener.name.guarded"
        return {
            "listeners": f"GUARDED://{LOOPBACK}:{port},PLAINTEXT://{LOOPBACK}:{self.open_port},"
            f"MUTUAL://{LOOPBACK}:{self.mutual_port}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "GUARDED:SASL_SSL,MUTUAL:SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.keystore,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.keystore.type": "PEM",
            "listener.name.mutual.ssl.keystore.location": self.misnamed_keystore,
            "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": self.client_ca,
            f"{listener}.sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM_MECHANISMS)),
            f"{listener}.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {logins};",
            **{
                f"{listener}.{mechanism.lower()}.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;"
                for mechanism in SCRAM_MECHANISMS
            },
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def format_options(self) -> list[str]:
        """Return the options of the storage tool that make the SCRAM users."""
        return [
            word
            for name, password in self.users.items()
            for mechanism in SCRAM_MECHANISMS
            for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]


@dataclass(frozen=True, slots=True)
class Node:
    """One broker of a cluster on this machine, which is also a controller. For tests of what a cluster does.

    Clients may also come through a second listener, which tells them other ports than it has: those of proxies.
    """

    node_id: int
    cluster_id: str
    #: The controllers' ports by node id, this one's among them.
    controller_ports: Mapping[int, int]
    proxied_port: int
    proxy_port: int

    def properties(self, port: int) -> dict[str, object]:
        """Return the properties that differ from those of a single broker."""
        count = len(self.controller_ports)
        most = count // 2 + 1
        voters = (f"{number}@{LOOPBACK}:{its_port}" for number, its_port in self.controller_ports.items())
        replicas = {
            f"{topic}.replication.factor": count
            for topic in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        }
        return {
            "node.id": self.node_id,
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port},PROXIED://{LOOPBACK}:{self.proxied_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port},PROXIED://{LOOPBACK}:{self.proxy_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "transaction.state.log.min.isr": most,
            "share.coordinator.state.topic.min.isr": most,
            **replicas,
        }


def server_properties(
    *, port: int, controller_port: int, log_dir: Path, guard: Guard | None = None, node: Node | None = None
) -> str:
    """Return the text of ``server.properties``."""
    controller = f"CONTROLLER://{LOOPBACK}:{controller_port}"
    internal = INTERNAL_TOPIC_PARTITIONS
    properties: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "broker.session.timeout.ms": BROKER_SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": BROKER_HEARTBEAT_INTERVAL_MS,
        # Kafka's default is an empty record each half second: a third of what an idle broker costs.
        "metadata.max.idle.interval.ms": 0,
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
        **(guard.properties(port) if guard else {}),
        **(node.properties(port) if node else {}),
    }
    properties.setdefault("advertised.listeners", properties["listeners"])
    properties["listeners"] = f"{properties['listeners']},{controller}"
    return "".join(f"{name}={value}\n" for name, value in properties.items())
