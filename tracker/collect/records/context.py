"""Everything that a source record takes from outside the request's body."""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from topics.schemas import NO_SCHEMAS, Schemas
from tracker.collect.records.event_time import TimeLimits
from tracker.collect.records.personal_data import PersonalData
from tracker.visitors.page import PageReader

#: The range that the API allows for a session's inactivity gap; a default outside of it extends the range.
MIN_TIMEOUT_SECONDS: Final = 300
MAX_TIMEOUT_SECONDS: Final = 1_800


class RecordRules(NamedTuple):
    """What the settings say about records; the same for all requests."""

    default_timeout_seconds: int = MAX_TIMEOUT_SECONDS
    schemas: Schemas = NO_SCHEMAS
    time_limits: TimeLimits = TimeLimits()
    page_reader: PageReader = PageReader()
    #: None: nothing is taken out of events.
    personal_data: PersonalData | None = None

    @property
    def timeout_range_seconds(self) -> tuple[int, int]:
        """The shortest and the longest inactivity gap that a session may ask for."""
        return (
            min(MIN_TIMEOUT_SECONDS, self.default_timeout_seconds),
            max(MAX_TIMEOUT_SECONDS, self.default_timeout_seconds),
        )


class RecordContext(msgspec.Struct, frozen=True, gc=False):
    """What one request adds to its records."""

    rules: RecordRules
    #: When the request was received.
    now_ms: int
    new_id: Callable[[], str]
    #: From the cookie or the query: used where the body names no session.
    offered_session_id: str | None
    #: The same for the visitor; empty: not known.
    visitor_id: str = ""
    #: The write key's; empty: the body may name any.
    workspace_id: str = ""
    project_id: str = ""
    #: What the headers tell of the visitor, as the inside of a JSON object; None: a service sends this.
    browser: bytes | None = None
    is_anonymous: bool = False
    #: When the client says that it has sent this, in milliseconds since the epoch.
    sent_at_ms: int | None = None
    #: Whether the sender may change the context of a session that is open.
    owns: Callable[[str], bool] = lambda _: True
