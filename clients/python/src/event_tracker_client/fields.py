"""The fields of events and sessions, from the collector's OpenAPI document. Made by `make clients`; don't edit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypedDict

#: The types of events that need no schema.
EventType = Literal["pageview", "click", "scroll", "form_submit", "conversion"]


class EventFields(TypedDict, total=False):
    """Fields of an event. What is left out comes from its session."""

    event_id: str  # default: a new UUIDv7; at most 128 characters
    event_value: str  # at most 2,048 characters
    event_value_type: str  # at most 128 characters
    user_id: str  # at most 128 characters
    campaign_id: str  # at most 128 characters
    attribution_id: str  # at most 128 characters
    workspace_id: str  # at most 128 characters
    project_id: str  # at most 128 characters
    landing_page_id: str  # at most 128 characters
    ab_test_id: str | None  # at most 128 characters
    ab_test_variant_id: str | None  # at most 128 characters
    form_id: str | None  # at most 128 characters
    clicked_element: str | None  # at most 2,048 characters
    clicked_url: str | None  # at most 4,096 characters
    page_load_time: float | None  # 0 to 86,400,000
    dom_ready_time: float | None  # 0 to 86,400,000
    scroll_percentage: float | None  # 0 to 100
    time_on_page: float | None  # 0 to 86,400,000
    viewport_width: int | None  # 0 to 100,000
    viewport_height: int | None  # 0 to 100,000
    metadata: str | Mapping[str, object] | None  # an object is stored as its JSON; at most 16,384 characters
    environment: str  # at most 128 characters
    campaign_environment: str  # at most 128 characters
    page_url: str  # at most 4,096 characters
    referrer_url: str | None  # at most 4,096 characters
    visitor_id: str  # at most 128 characters; who it is across sessions; a session keeps the first one
    timestamp: datetime | str | None  # when it happened; default: now
    passive: bool  # the visitor did nothing, such as a page that is left: opens and prolongs no session


class SessionFields(TypedDict, total=False):
    """What opens a session or is added to it: its events need not repeat it."""

    user_id: str  # at most 128 characters
    campaign_id: str  # at most 128 characters
    workspace_id: str  # at most 128 characters
    project_id: str  # at most 128 characters
    attribution_id: str  # at most 128 characters
    landing_page_id: str  # at most 128 characters
    ab_test_id: str  # at most 128 characters
    ab_test_variant_id: str  # at most 128 characters
    environment: str  # at most 128 characters
    campaign_environment: str  # at most 128 characters
    user_traits: str | Mapping[str, object]  # an object is sent as JSON; at most 1,024 characters
    consent_analytics: Literal["granted", "denied"]
    consent_marketing: Literal["granted", "denied"]
    timeout_seconds: int  # 300 to 1,800
    visitor_id: str  # at most 128 characters; who it is across sessions; a session keeps the first one
    timestamp: datetime | str | None  # when it happened; default: now
    page_url: str | None  # at most 4,096 characters
    referrer_url: str | None  # at most 4,096 characters


#: Events in one request.
MAX_BATCH_EVENTS: Final = 500
#: One event or session, with what the collector adds.
MAX_RECORD_BYTES: Final = 65_536
