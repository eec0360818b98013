"""How every Kafka client of ours is made: one place for addresses, durability and limits."""

from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import murmur2

from tracker.settings import Settings

#: Memory that a producer may hold for one batch; a record batch on the broker is limited to 1 MiB by default.
PRODUCER_BATCH_MAX_BYTES: Final = 262_144
#: The largest produce request; the broker's default message.max.bytes is 1,048,588.
PRODUCER_REQUEST_MAX_BYTES: Final = 1_000_000
REQUEST_TIMEOUT_MS: Final = 40_000
METADATA_MAX_AGE_MS: Final = 30_000


def client_options(settings: Settings, client_id: str) -> dict[str, Any]:
    """Return what every client needs to reach the cluster."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }


def new_producer(settings: Settings, client_id: str, **options: Any) -> AIOKafkaProducer:
    """Return an unstarted producer that is idempotent and waits for all replicas. aiokafka's defaults are neither."""
    return AIOKafkaProducer(
        **client_options(settings, client_id),
        **{
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": PRODUCER_BATCH_MAX_BYTES,
            "max_request_size": PRODUCER_REQUEST_MAX_BYTES,
            **options,
        },
    )


def new_reader(settings: Settings, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """Return an unstarted consumer without a group: the caller assigns partitions and seeks."""
    return AIOKafkaConsumer(
        **client_options(settings, client_id),
        **{"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "earliest", **options},
    )


def partition_for_key(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own default partitioner (murmur2) gives a key."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
