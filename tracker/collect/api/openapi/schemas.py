"""What the API takes and answers, as types: the OpenAPI document is made from them.

Requests have the very fields of the records that are made from them (``topics``), so the document can't promise
what the decoder refuses. Answers are checked against these shapes by running the document against the collector.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from topics.event import EventInput
from topics.fields import OUTSIDE, Count, Id, SessionId, Timestamp, Url
from topics.session import CloseReason, SessionInput
from tracker.collect.errors import ErrorCode
from tracker.collect.records.event_list import MAX_BATCH_EVENTS

VisitorId = Annotated[Id, Field(description="Who it is across sessions; a session keeps the first one.")]


@with_config(OUTSIDE)
class Event(EventInput):
    """One event. A missing ``event_id`` is generated, a missing ``session_id`` read from the cookie.

    Other missing fields are filled from the session.

    An event that comes again with the same ``event_id`` counts once: choose it before the first try.
    """

    session_id: NotRequired[SessionId]
    visitor_id: NotRequired[VisitorId]
    timestamp: NotRequired[Timestamp | None]
    passive: NotRequired[
        Annotated[
            bool,
            Field(description="The visitor did nothing, such as a page that is left: opens and prolongs no session."),
        ]
    ]


@with_config(OUTSIDE)
class SingleEvent(Event):
    """One event, with the time by the client's clock at which it is sent: a wrong clock does no harm then."""

    sent_at: NotRequired[Timestamp]


@with_config(OUTSIDE)
class EventBatch(TypedDict):
    """Several events; each gets a separate verdict. Those that name no session share one."""

    batch: Annotated[list[Event], Field(min_length=1, max_length=MAX_BATCH_EVENTS)]
    sent_at: NotRequired[Timestamp]


@with_config(OUTSIDE)
class Session(SessionInput):
    """Opens a session or adds to its context, which its events then need not repeat."""

    session_id: NotRequired[SessionId]
    visitor_id: NotRequired[VisitorId]
    timestamp: NotRequired[Timestamp | None]
    sent_at: NotRequired[Timestamp]
    page_url: NotRequired[Url | None]
    referrer_url: NotRequired[Url | None]


@with_config(OUTSIDE)
class EventAccepted(TypedDict):
    """The event is safe."""

    session_id: str
    event_id: str


@with_config(OUTSIDE)
class SessionAccepted(TypedDict):
    """The record is safe."""

    session_id: str


@with_config(OUTSIDE)
class Dropped(TypedDict):
    """The visitor objects to tracking (DNT or GPC) and the policy is ``drop``: nothing is kept. Don't send it again."""

    status: Literal["dropped"]
    reasons: list[str]


@with_config(OUTSIDE)
class AcceptedItem(TypedDict):
    """This event of the batch is safe."""

    index: Count
    status: Literal["accepted"]
    session_id: str
    event_id: str


@with_config(OUTSIDE)
class RejectedItem(TypedDict):
    """This event of the batch can't be taken. Sending it again as it is changes nothing."""

    index: Count
    status: Literal["rejected"]
    reasons: list[str]


@with_config(OUTSIDE)
class DroppedItem(Dropped):
    """The visitor objects to tracking."""

    index: Count


Results = list[Annotated[AcceptedItem | RejectedItem | DroppedItem, Field(discriminator="status")]]


@with_config(OUTSIDE)
class BatchVerdicts(TypedDict):
    """A verdict for each event of a batch, in its order."""

    results: Results


@with_config(OUTSIDE)
class ErrorBody(TypedDict):
    """What went wrong: ``code`` for programs, the rest for people. No value of the request is repeated."""

    code: ErrorCode
    message: str
    reasons: list[str]


@with_config(OUTSIDE)
class Error(TypedDict):
    """The form of every error. ``results`` only where no event of a batch could be taken."""

    error: ErrorBody
    results: NotRequired[Results]


class SessionState(TypedDict):
    """A session as its owner has checkpointed it. Times are milliseconds; those of the log, not of a client."""

    session_id: str
    session_key: str
    user_id: str
    campaign_id: str
    workspace_id: str
    project_id: str
    attribution_id: str
    landing_page_id: str
    ab_test_id: NotRequired[str]
    ab_test_variant_id: NotRequired[str]
    environment: str
    campaign_environment: str
    event_buffer: list[Any]
    event_sequence: Count
    last_activity: int
    session_timeout: int
    created_at: int
    is_expired: bool
    close_reason: Literal["", CloseReason]
    deadline: int
    remaining_ms: Annotated[int, Field(ge=0)]
    source_offset: int


class Health(TypedDict):
    """The process is alive."""

    status: Literal["ok"]


class SpillState(TypedDict):
    """What waits on disk for Kafka."""

    records: int
    bytes: int
    max_bytes: int
    oldest_age_seconds: float
    draining: bool


class Readiness(TypedDict):
    """Events can be accepted. ``kafka`` is ``ok``, or why they go to disk meanwhile.

    Operators are told all of it, everybody else the status alone.
    """

    status: Literal["ready"]
    kafka: NotRequired[str]
    migration: NotRequired[str]
    spill: NotRequired[SpillState]


#: Every shape that the document names.
SHAPES: Final[dict[str, TypeAdapter[Any]]] = {
    shape.__name__: TypeAdapter(shape)
    for shape in (
        SingleEvent,
        EventBatch,
        Session,
        EventAccepted,
        SessionAccepted,
        Dropped,
        BatchVerdicts,
        Error,
        SessionState,
        Health,
        Readiness,
    )
}
