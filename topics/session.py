"""Sessions: what opens or enriches one, and the row that describes it in ``session_v1``."""

from typing import Annotated, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from topics.fields import OUTSIDE, Count, Id, SessionId, Timestamp, Version
from topics.visitor import CampaignTag, ClickId, Country, DeviceType, Host, Ip, Language, UserAgent, Visitor

#: Context that is given once and filled into every event of the session that lacks it.
CONTEXT_FIELDS: Final = (
    "user_id",
    "campaign_id",
    "workspace_id",
    "project_id",
    "attribution_id",
    "landing_page_id",
    "ab_test_id",
    "ab_test_variant_id",
    "environment",
    "campaign_environment",
)

#: Given once, too, but a session's alone: no event has them.
SESSION_ONLY_FIELDS: Final = ("user_traits", "consent_analytics", "consent_marketing")

#: Together with the rest of the context it stays below the cap of a session's context, whatever the characters.
MAX_TRAITS_CHARS: Final = 1_024

#: The user's traits, as a JSON object in text.
Traits = Annotated[str, StringConstraints(max_length=MAX_TRAITS_CHARS)]
#: What a visitor has answered when asked for consent. Where there is no answer there is no field.
Consent = Literal["granted", "denied"]

#: What tells one campaign from another: of a visitor's fields, those that an advertiser puts into a link.
CAMPAIGN_FIELDS: Final = (
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id",
    "click_id_type",
)

#: The longest inactivity gap. Well below the changelog's MIN_COMPACTION_LAG_MS, which has to outlast any silence.
MAX_TIMEOUT_SECONDS: Final = 3_600

#: Context that says whose session it is, whatever brought the visitor.
IDENTITY_FIELDS: Final = (
    "user_id",
    "visitor_id",
    "workspace_id",
    "project_id",
    "environment",
    "campaign_environment",
)

#: Why a session ended. ``claimed``: it belonged to no workspace until a record named one, whose session then began.
#: ``campaign``: its visitor came by another campaign, and a deployment's rule begins a session then.
CloseReason = Literal["timeout", "max_length", "expired", "cap", "claimed", "campaign"]


@with_config(OUTSIDE)
class SessionInput(TypedDict):
    """The ``data`` of a ``session`` record: context and, if it differs from the default, the inactivity gap."""

    user_id: NotRequired[Id]
    campaign_id: NotRequired[Id]
    workspace_id: NotRequired[Id]
    project_id: NotRequired[Id]
    attribution_id: NotRequired[Id]
    landing_page_id: NotRequired[Id]
    ab_test_id: NotRequired[Id]
    ab_test_variant_id: NotRequired[Id]
    environment: NotRequired[Id]
    campaign_environment: NotRequired[Id]
    user_traits: NotRequired[Traits]
    consent_analytics: NotRequired[Consent]
    consent_marketing: NotRequired[Consent]
    timeout_seconds: NotRequired[Annotated[int, Field(ge=1, le=MAX_TIMEOUT_SECONDS)]]


@with_config(OUTSIDE)
class SessionRecord(TypedDict):
    """The value of a source record that opens a session or adds to its context. Its key is ``session_id``.

    With ``open_only`` it changes nothing of a session that is open already: what a sender may do who can't show that
    the session is its own.
    """

    type: Literal["session"]
    session_id: SessionId
    workspace_id: NotRequired[Id]
    timestamp: Timestamp
    open_only: NotRequired[bool]
    client_timestamp: NotRequired[Timestamp]
    retry_count: NotRequired[Count]
    visitor_id: NotRequired[Id]
    visitor: NotRequired[Visitor]
    data: SessionInput


@with_config(ConfigDict(extra="forbid"))
class SessionRow(TypedDict):
    """A row of ``session_v1``: written when a session opens, when its context changes and when it closes.

    ``version`` is ``4 * source offset + stage``; the stage is 0 for an open session, 1 for one that was closed, and 2
    for a closed one that took a passive event. The highest version wins, also where one record gives several rows.
    Times are ISO 8601 in UTC, stream time (the log's clock), not the client's. ``touches`` is a JSON array in text: for
    each campaign by which the visitor came during the session, an object with ``at`` and those of ``CAMPAIGN_FIELDS``
    that are known.
    """

    session_id: str
    session_key: str
    visitor_id: Id
    user_id: Id
    campaign_id: Id
    workspace_id: Id
    project_id: Id
    attribution_id: Id
    landing_page_id: Id
    ab_test_id: Id
    ab_test_variant_id: Id
    environment: Id
    campaign_environment: Id
    user_traits: Traits
    consent_analytics: Literal["", Consent]
    consent_marketing: Literal["", Consent]
    user_agent: UserAgent
    browser: Id
    browser_version: Id
    os: Id
    os_version: Id
    device_type: Literal["", DeviceType]
    is_bot: bool
    language: Language
    country: Country
    region: Id
    city: Id
    referrer_host: Host
    utm_source: CampaignTag
    utm_medium: CampaignTag
    utm_campaign: CampaignTag
    utm_term: CampaignTag
    utm_content: CampaignTag
    click_id: ClickId
    click_id_type: Id
    ip: Ip
    touches: str
    created_at: Timestamp
    last_activity_at: Timestamp
    closed_at: NotRequired[Timestamp | None]
    close_reason: Literal["", CloseReason]
    is_expired: bool
    event_count: Count
    session_timeout_seconds: Count
    version: Version
