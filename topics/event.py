"""Events: what a producer sends in an ``event`` record, and the numbered row that comes out of it.

An event is of one of the plan's types, or of one of the user's own, which names the version of its schema.

Records are TypedDicts validated by pydantic (docs/decisions/0001): the validated dict itself is filled, numbered and
serialised, which costs a third less than converting to model instances.
"""

from typing import Annotated, Any, Final, Literal, NotRequired, get_args

from pydantic import ConfigDict, StringConstraints, with_config
from typing_extensions import TypedDict

from topics.fields import (
    OUTSIDE,
    Count,
    Id,
    Metadata,
    MetadataInput,
    Milliseconds,
    Percentage,
    Pixels,
    SessionId,
    Text,
    Timestamp,
    Url,
)
from topics.visitor import Visitor

EventType = Literal["pageview", "click", "scroll", "form_submit", "conversion"]
EVENT_TYPES: Final = get_args(EventType)

#: The name of an event type of the user's own; none of the plan's.
OwnEventType = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
#: The version of its schema, as SchemaVer has it: model-revision-addition.
SchemaVersion = Annotated[
    str, StringConstraints(max_length=20, pattern=r"^[1-9][0-9]*-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$")
]


@with_config(OUTSIDE)
class EventContent(TypedDict):
    """What all events may say. Context that is left out is filled from the session."""

    event_id: NotRequired[Id]
    event_value: NotRequired[Text]
    event_value_type: NotRequired[Id]

    user_id: NotRequired[Id]
    campaign_id: NotRequired[Id]
    attribution_id: NotRequired[Id]
    workspace_id: NotRequired[Id]
    project_id: NotRequired[Id]
    landing_page_id: NotRequired[Id]
    ab_test_id: NotRequired[Id | None]
    ab_test_variant_id: NotRequired[Id | None]

    form_id: NotRequired[Id | None]
    clicked_element: NotRequired[Text | None]
    clicked_url: NotRequired[Url | None]
    page_load_time: NotRequired[Milliseconds | None]
    dom_ready_time: NotRequired[Milliseconds | None]
    scroll_percentage: NotRequired[Percentage | None]
    time_on_page: NotRequired[Milliseconds | None]
    viewport_width: NotRequired[Pixels | None]
    viewport_height: NotRequired[Pixels | None]

    metadata: NotRequired[MetadataInput | None]
    environment: NotRequired[Id]
    campaign_environment: NotRequired[Id]
    page_url: NotRequired[Url]
    referrer_url: NotRequired[Url | None]


@with_config(OUTSIDE)
class EventInput(EventContent):
    """The ``data`` of an ``event`` record: what happened. Context that is left out is filled from the session.

    ``session_event_sequence`` and ``id`` are ours alone.
    """

    event_type: EventType


@with_config(OUTSIDE)
class OwnEventInput(EventContent):
    """The same for an event of the user's own type: its properties become its metadata, so it has no other."""

    event_type: OwnEventType
    properties: dict[str, Any]


@with_config(OUTSIDE)
class EventEnvelope(TypedDict):
    """What the records of all events have around their ``data``.

    ``client_timestamp`` is the time of the client's own clock, where ``timestamp`` is the corrected time. A session
    belongs to a workspace: ``workspace_id`` names it for the record, so that ``data`` need not. A ``passive`` event,
    such as a page that is left, is no activity of the visitor: it never opens a session and does not prolong one.
    ``visitor_id`` says who it is across sessions: a session keeps the first one that it is told.
    """

    type: Literal["event"]
    session_id: SessionId
    workspace_id: NotRequired[Id]
    timestamp: Timestamp
    client_timestamp: NotRequired[Timestamp]
    passive: NotRequired[bool]
    retry_count: NotRequired[Count]
    visitor_id: NotRequired[Id]
    visitor: NotRequired[Visitor]


@with_config(OUTSIDE)
class EventRecord(EventEnvelope):
    """The value of a source record that carries one event. Its key is ``session_id`` in UTF-8."""

    data: EventInput


@with_config(OUTSIDE)
class OwnEventRecord(EventEnvelope):
    """The same for an event of the user's own type, with the version of the schema that its properties fit."""

    schema: SchemaVersion
    data: OwnEventInput


@with_config(ConfigDict(extra="forbid"))
class EventData(TypedDict):
    """A numbered event: exactly the fields of the plan, a row of ``events_v1``. Optional fields may be absent."""

    timestamp: Timestamp
    id: str
    event_id: Id
    event_value: Text
    event_value_type: Id
    #: One of the plan's, or an own one; both are written alike.
    event_type: OwnEventType

    user_id: Id
    campaign_id: Id
    session_id: str
    attribution_id: Id
    workspace_id: Id
    project_id: Id
    landing_page_id: Id
    ab_test_id: NotRequired[Id | None]
    ab_test_variant_id: NotRequired[Id | None]

    form_id: NotRequired[Id | None]
    clicked_element: NotRequired[Text | None]
    clicked_url: NotRequired[Url | None]
    page_load_time: NotRequired[Milliseconds | None]
    dom_ready_time: NotRequired[Milliseconds | None]
    scroll_percentage: NotRequired[Percentage | None]
    time_on_page: NotRequired[Milliseconds | None]
    session_event_sequence: Count
    viewport_width: NotRequired[Pixels | None]
    viewport_height: NotRequired[Pixels | None]

    metadata: NotRequired[Metadata | None]
    environment: Id
    campaign_environment: Id
    page_url: Url
    referrer_url: NotRequired[Url | None]
