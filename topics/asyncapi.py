"""The AsyncAPI 3 document of the topics, made from the catalog and the records' own types. Pure.

``tracker topics asyncapi`` prints it. As AsyncAPI defines it, operations are the tracker's: it *receives* records that
others send, and *sends* records that others may read. The changelog and the history are left out: they are private.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter

from topics import headers
from topics.catalog import CHANGELOG, DEAD_LETTERS, HISTORY, LEGACY, SEQUENCED, SESSIONS, SOURCE, USAGE, Topic
from topics.codec import MAX_SOURCE_VALUE_BYTES
from topics.dead_letter import DeadLetter
from topics.event import EventData, EventRecord
from topics.queue import EventQueueMessage, SessionQueueMessage
from topics.session import SessionRecord, SessionRow
from topics.system.control import ExpireRecord, FlushRecord
from topics.system.usage import UsageRow

Json = dict[str, Any]

_BINDING_VERSION: Final = "0.5.0"
_REF: Final = "#/components/schemas/{model}"

_INTRODUCTION: Final = f"""Events go in, numbered events and session rows come out.

**Key.** A source record's key is its `session_id` in UTF-8. All records of a session must be in one partition, so the
partitioner is murmur2 as in Kafka's Java client: `(murmur2(key) & 0x7fffffff) % partitions`. Java, kafkajs and aiokafka
do so by themselves; librdkafka (confluent-kafka) needs `partitioner=murmur2_random`. A record in another partition is
forwarded, which costs time and puts it behind what came meanwhile.

**Order.** Sequence numbers follow the order in the log. A producer that wants its own order kept awaits each send, or
is idempotent.

**Whose.** A session belongs to a workspace. Name it in `workspace_id` of the envelope or of the data; a record that
names none belongs to the first workspace that has used its key.

**Once.** An event is its `event_id` and its `data`. The same again takes no second number for 24 hours, so send again,
unchanged, what has no answer.

**Time.** Sessions end by the broker's clock (LogAppendTime); `timestamp` is the event's own.

**What can't be taken** becomes a dead letter with its reason; a value over {MAX_SOURCE_VALUE_BYTES} bytes can't.
"""

_SESSION_ID: Final = "0198f2c4-5a00-7000-8000-000000000001"
_AT: Final = "2026-11-25T09:30:00.000Z"


@dataclass(frozen=True, slots=True)
class _Message:
    """One kind of record in a topic."""

    name: str
    title: str
    summary: str
    payload: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Json | None = None


_FROM_PRODUCERS: Final = {
    headers.PRODUCER_CLIENT_ID: "who sent it; shown in dead letters",
    headers.TRACEPARENT: "W3C trace context; the event is followed to its row",
}
_FROM_US: Final = {
    headers.SOURCE_POSITION: (
        "partition:offset:index, in decimal digits: the source record, and the place among its outputs. In a partition "
        "they rise; drop an output whose offset and index are not behind those of the one before: it is a repeat"
    ),
    headers.FLUSH: "set on a record without a value: a marker that the sink ships what it holds",
}

_TOPICS: Final[Sequence[tuple[Topic, Sequence[_Message]]]] = (
    (SOURCE, (
        _Message(
            "event",
            "Something happened",
            "Opens the session if there is none, and takes its next number.",
            EventRecord,
            _FROM_PRODUCERS,
            {
                "type": "event",
                "session_id": _SESSION_ID,
                "timestamp": _AT,
                "data": {"event_type": "conversion", "event_id": "order-1042", "event_value": "49.90"},
            },
        ),
        _Message(
            "session",
            "A session and its context",
            "Opens the session or adds to its context, which fills whatever its events leave out.",
            SessionRecord,
            _FROM_PRODUCERS,
            {
                "type": "session",
                "session_id": _SESSION_ID,
                "timestamp": _AT,
                "data": {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": "b"},
            },
        ),
        _Message(
            "expire",
            "Close a session",
            "Closes it here and now; the next event renews it under another id.",
            ExpireRecord,
            _FROM_PRODUCERS,
            {"type": "expire", "session_id": _SESSION_ID, "timestamp": _AT},
        ),
        _Message(
            "flush",
            "Ship what is held",
            "Travels with the events; what came before it goes to Tinybird without waiting for the window.",
            FlushRecord,
            _FROM_PRODUCERS,
            {"type": "flush", "session_id": _SESSION_ID, "timestamp": _AT},
        ),
    )),
    (SEQUENCED, (_Message("numberedEvent", "A numbered event", "A row of events_v1.", EventData, _FROM_US),)),
    (SESSIONS, (
        _Message("sessionRow", "A session as it stands", "A row of session_v1; the highest version wins.", SessionRow,
                 _FROM_US),
    )),
    (USAGE, (
        _Message("usageRow", "What a workspace has sent", "A row of usage_v1; rows are added up.", UsageRow, _FROM_US),
    )),
    (DEAD_LETTERS, (
        _Message("deadLetter", "What could not be taken", "The record whole, in base64, and the reason.", DeadLetter),
    )),
    (LEGACY, (
        _Message("legacySession", "The queue's session", "Of sessions that a migration still sends there.",
                 SessionQueueMessage),
        _Message("legacyEvent", "The queue's event", "Likewise.", EventQueueMessage),
    )),
)  # fmt: skip


def document(*, prefix: str, partitions: int, bootstrap: str, version: str) -> Json:
    """Return the document for a deployment: its topic prefix, partitions, and brokers as ``host:port,host:port``."""
    schemas: Json = {}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "tracker", "version": version, "description": _INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": {
            f"broker{number}": {"host": host, "protocol": "kafka"} for number, host in enumerate(bootstrap.split(","))
        },
        "channels": {_channel_id(topic): _channel(topic, messages, prefix, partitions) for topic, messages in _TOPICS},
        "operations": dict(_operation(topic, messages) for topic, messages in _TOPICS),
        "components": {
            "messages": {message.name: _message(message, schemas) for _, messages in _TOPICS for message in messages},
            "schemas": schemas,
        },
    }


def _channel_id(topic: Topic) -> str:
    first, *rest = topic.suffix.replace("-", ".").split(".")
    return first + "".join(word.capitalize() for word in rest)


def _channel(topic: Topic, messages: Sequence[_Message], prefix: str, partitions: int) -> Json:
    config = {name: int(value) if value.isdigit() else value for name, value in topic.config.items()}
    return {
        "address": topic.name(prefix),
        "title": topic.purpose,
        "description": f"Key: {topic.key}. Value: {topic.value}.",
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"} for message in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name(prefix),
                "partitions": partitions,
                "topicConfiguration": {**config, "cleanup.policy": [topic.config["cleanup.policy"]]},
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _operation(topic: Topic, messages: Sequence[_Message]) -> tuple[str, Json]:
    channel = _channel_id(topic)
    action = "receive" if topic is SOURCE else "send"
    operation = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": topic.purpose,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message.name}"} for message in messages],
    }
    return f"{action}{channel[0].upper()}{channel[1:]}", operation


def _message(message: _Message, schemas: Json) -> Json:
    schema = TypeAdapter(message.payload).json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    schemas[message.payload.__name__] = schema
    shown: Json = {
        "name": message.name,
        "title": message.title,
        "summary": message.summary,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{message.payload.__name__}"},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": _BINDING_VERSION}},
    }
    if message.headers:
        properties = {name: {"type": "string", "description": what} for name, what in message.headers.items()}
        shown["headers"] = {"type": "object", "properties": properties}
    if message.example is not None:
        shown["examples"] = [{"name": message.name, "payload": message.example}]
    return shown


_KEY: Final = {
    "type": "string",
    "description": "The source record's session_id in UTF-8; murmur2 of it gives the partition.",
    "examples": [_SESSION_ID],
}

#: Of the catalog, what the document leaves out.
LEFT_OUT: Final = (CHANGELOG, HISTORY)
