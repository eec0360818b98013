"""Control records: they act on a session, or only move time."""

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from topics.fields import OUTSIDE, Count, Id, SessionId, Timestamp


@with_config(OUTSIDE)
class NoData(TypedDict):
    """The empty ``data`` of a control record."""


@with_config(OUTSIDE)
class ExpireScope(TypedDict):
    """The workspace whose session is closed, where the record itself does not name it."""

    workspace_id: NotRequired[Id]


@with_config(OUTSIDE)
class ExpireRecord(TypedDict):
    """Closes the session now, at this place in the log."""

    type: Literal["expire"]
    session_id: SessionId
    workspace_id: NotRequired[Id]
    timestamp: Timestamp
    retry_count: NotRequired[Count]
    data: NotRequired[ExpireScope]


@with_config(OUTSIDE)
class FlushRecord(TypedDict):
    """Travels in band and makes the sink ship the rows of this partition that it holds."""

    type: Literal["flush"]
    session_id: SessionId
    workspace_id: NotRequired[Id]
    timestamp: Timestamp
    retry_count: NotRequired[Count]
    data: NotRequired[NoData]


@with_config(OUTSIDE)
class TickRecord(TypedDict):
    """Moves stream time in a quiet partition. It has no key."""

    type: Literal["tick"]


TICK_VALUE = b'{"type":"tick"}'
