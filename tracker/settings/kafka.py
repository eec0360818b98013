"""Settings of every Kafka client, and of the topics."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from tracker.settings.group import SettingsGroup

MAX_PORT: Final = 65_535


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() or None if isinstance(value, str) else value


def _addresses(text: str) -> str:
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        if "://" in address:
            raise ValueError(f"{address!r} is a URL; write host:port, such as kafka-1:9092")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
            raise ValueError(f"{address!r} has no port; write host:port, such as kafka-1:9092")
    return ",".join(addresses)


class KafkaSettings(SettingsGroup):
    """How to reach Kafka, how to log in, and what the topics are like."""

    kafka_bootstrap: Annotated[str, AfterValidator(_addresses)] = Field(
        default="localhost:9092", description="host:port of the Kafka brokers, comma separated"
    )
    kafka_security_protocol: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], BeforeValidator(_lower)
    ] = Field(default="plaintext", description="whether clients encrypt (ssl) and log in (sasl)")
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, BeforeValidator(_upper)
    ] = Field(default=None, description="how clients log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    kafka_sasl_username: str = Field(default="", description="who clients log in as")
    kafka_sasl_password: SecretStr = Field(default=SecretStr(""), description="with what they log in")
    kafka_ssl_ca_file: Path | None = Field(
        default=None, description="PEM file of the CA that signed the brokers' certificates; default: the system's CAs"
    )
    kafka_ssl_cert_file: Path | None = Field(
        default=None, description="PEM file of the clients' own certificate, where brokers ask for one"
    )
    kafka_ssl_key_file: Path | None = Field(default=None, description="PEM file of that certificate's key, unencrypted")
    kafka_ssl_check_hostname: bool = Field(
        default=True, description="whether a broker's certificate must be for the name that it is reached by"
    )
    topic_prefix: str = Field(default="tracker.", max_length=100, description="prefix of every topic and group name")
    partitions: int = Field(default=16, ge=1, le=4096, description="partitions of every topic")
    replication_factor: int = Field(default=1, ge=1, le=9, description="replicas of every topic; 3 in production")
    kafka_session_timeout_ms: int = Field(
        default=10_000, ge=1_000, description="silence after which a worker is evicted"
    )
