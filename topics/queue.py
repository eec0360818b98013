"""The messages of the queue that events went through before: what the ``legacy`` lane speaks while a team moves.

Names are the queue's own, camelCase around snake_case data. The collector knows no sequence number, so a message
carries 0 there: the queue's consumer never had one either.
"""

from typing import Annotated, Final, Literal, NotRequired

import orjson
from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from topics.codec import KeyedRecord, workspace_of
from topics.event import EventData
from topics.fields import OUTSIDE, Count, SessionId, Timestamp
from topics.session import CONTEXT_FIELDS, SessionInput

#: The fields of ``EventData`` that a message always has; empty where the event does not say.
_ALWAYS: Final = (
    "event_value",
    "event_value_type",
    *(name for name in CONTEXT_FIELDS if not name.startswith("ab_test")),
    "page_url",
)


@with_config(OUTSIDE)
class SessionQueueMessage(TypedDict):
    """Opens a session, or adds to its context: columns of ``session_v1``."""

    type: Literal["session"]
    data: SessionInput
    sessionId: SessionId
    retryCount: NotRequired[Count]
    timestamp: Timestamp


@with_config(OUTSIDE)
class EventQueueMessage(TypedDict):
    """One event: the columns of ``events_v1``."""

    type: Literal["event"]
    data: EventData
    sessionId: SessionId
    retryCount: NotRequired[Count]
    timestamp: Timestamp


QueueMessage = Annotated[SessionQueueMessage | EventQueueMessage, Field(discriminator="type")]

queue_adapter: Final[TypeAdapter[SessionQueueMessage | EventQueueMessage]] = TypeAdapter(QueueMessage)


def queue_value(value: bytes) -> bytes | None:
    """Return the queue's message for a source record's checked value; None if the queue has no such message.

    Closing and flushing a session are the tracker's own.
    """
    record: KeyedRecord = orjson.loads(value)
    message: dict[str, object] = {"type": record["type"]}
    # The queue has no workspace in its envelope.
    named = {"workspace_id": workspace} if (workspace := workspace_of(record)) else {}
    if record["type"] == "event":
        message["data"] = {**_event_data(record), **named}
    elif record["type"] == "session":
        message["data"] = {**record["data"], **named}
    else:
        return None
    message["sessionId"] = record["session_id"]
    if "retry_count" in record:
        message["retryCount"] = record["retry_count"]
    message["timestamp"] = record["timestamp"]
    return orjson.dumps(message)


def _event_data(record: KeyedRecord) -> dict[str, object]:
    given = dict(record.get("data", {}))
    event_id = given.get("event_id", "")
    return {
        "timestamp": record["timestamp"],
        "id": event_id,
        "event_id": event_id,
        **dict.fromkeys(_ALWAYS, ""),
        "session_id": record["session_id"],
        "session_event_sequence": 0,
        **given,
    }
