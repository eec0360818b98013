"""Requests of Kafka's protocol that aiokafka lacks, or has in older versions only."""

from io import BytesIO
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_METADATA: Final = 3
_HEARTBEAT: Final = 12
_UUID_BYTES: Final = 16
_NO_UUID: Final = bytes(_UUID_BYTES)


class Uuid(AbstractType[bytes]):  # type: ignore[misc] # aiokafka is untyped
    """An id of 16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Return the bytes as they are."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Read the next 16 bytes."""
        return data.read(_UUID_BYTES)


class MetadataResponseV8(Response):  # type: ignore[misc] # aiokafka is untyped
    """Topics with our rights on each: Kafka 2.3 and later."""

    API_KEY = _METADATA
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class MetadataRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    """Topics by name, with our rights on each. The request creates none of them."""

    API_KEY = _METADATA
    API_VERSION = 8
    RESPONSE_TYPE = MetadataResponseV8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class MetadataResponseV10(Response):  # type: ignore[misc] # aiokafka is untyped
    """The same with the id of each topic (KIP-516): Kafka 2.8 and later."""

    API_KEY = _METADATA
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    """The same question as in version 8."""

    FLEXIBLE_VERSION = True
    API_KEY = _METADATA
    API_VERSION = 10
    RESPONSE_TYPE = MetadataResponseV10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class DescribeTopics(Request[MetadataRequestV8 | MetadataRequestV10]):  # type: ignore[misc] # aiokafka is untyped
    """Asks for topics by name, in the newest version that the broker speaks, without making them."""

    API_KEY = _METADATA

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(
        self, request_struct_class: type[MetadataRequestV8 | MetadataRequestV10]
    ) -> MetadataRequestV8 | MetadataRequestV10:
        """Fill the fields in."""
        flags = False, False, True
        if request_struct_class is MetadataRequestV8:
            return request_struct_class(self._topics, *flags)
        return request_struct_class([(_NO_UUID, topic, {}) for topic in self._topics], *flags, {})


def topic_id_of(topic: dict[str, Any]) -> str:
    """Return the id of a topic of ``DescribeTopics``'s answer in hexadecimal digits; empty from a broker without."""
    found = topic.get("topic_id", _NO_UUID)
    return "" if found == _NO_UUID else str(found.hex())


class FencedInstanceIdError(errors.BrokerResponseError):  # type: ignore[misc] # aiokafka is untyped
    """Another process has joined the group under our name since."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "another member has registered with the same group.instance.id"


errors.kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError


class HeartbeatResponseV3(Response):  # type: ignore[misc] # aiokafka is untyped
    """The answer to a heartbeat of a static member."""

    API_KEY = _HEARTBEAT
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequestV3(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    """A heartbeat that says who it is from."""

    API_KEY = _HEARTBEAT
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponseV3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeat(Request[HeartbeatRequestV3]):  # type: ignore[misc] # aiokafka is untyped
    """Builds the request in the one version that carries the instance id and needs no tagged fields."""

    API_KEY = _HEARTBEAT

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[HeartbeatRequestV3]) -> HeartbeatRequestV3:
        """Fill the fields in."""
        return request_struct_class(*self._fields)
