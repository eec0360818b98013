"""The visitor who sent a record, as the collector learns it from the request and from the client.

It travels in the envelope of ``event`` and ``session`` records. A session keeps the one of the first record that
carries any, and every row of ``session_v1`` has its fields as columns; ``events_v1`` has none of them.
"""

from typing import Annotated, Final, Literal, NotRequired, get_args

from pydantic import StringConstraints, with_config
from typing_extensions import TypedDict

from topics.fields import OUTSIDE, Id

MAX_USER_AGENT_CHARS: Final = 512
MAX_HOST_CHARS: Final = 253
MAX_CAMPAIGN_TAG_CHARS: Final = 256
#: Advertisers' click ids; TikTok asks to allow for 500.
MAX_CLICK_ID_CHARS: Final = 512
#: BCP 47 asks to allow for 35.
MAX_LANGUAGE_CHARS: Final = 35
#: An IPv6 address with an IPv4 one in it, in text.
MAX_IP_CHARS: Final = 45

UserAgent = Annotated[str, StringConstraints(max_length=MAX_USER_AGENT_CHARS)]
Host = Annotated[str, StringConstraints(max_length=MAX_HOST_CHARS)]
CampaignTag = Annotated[str, StringConstraints(max_length=MAX_CAMPAIGN_TAG_CHARS)]
ClickId = Annotated[str, StringConstraints(max_length=MAX_CLICK_ID_CHARS)]
Language = Annotated[str, StringConstraints(max_length=MAX_LANGUAGE_CHARS)]
#: ISO 3166-1 alpha-2, or empty: not known.
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")]
Ip = Annotated[str, StringConstraints(max_length=MAX_IP_CHARS)]

DeviceType = Literal["desktop", "mobile", "tablet", "bot", "other"]


@with_config(OUTSIDE)
class Visitor(TypedDict):
    """The known details of a visitor. An absent field is unknown."""

    user_agent: NotRequired[UserAgent]
    browser: NotRequired[Id]
    browser_version: NotRequired[Id]
    os: NotRequired[Id]
    os_version: NotRequired[Id]
    device_type: NotRequired[DeviceType]
    is_bot: NotRequired[bool]
    language: NotRequired[Language]
    country: NotRequired[Country]
    region: NotRequired[Id]
    city: NotRequired[Id]
    referrer_host: NotRequired[Host]
    utm_source: NotRequired[CampaignTag]
    utm_medium: NotRequired[CampaignTag]
    utm_campaign: NotRequired[CampaignTag]
    utm_term: NotRequired[CampaignTag]
    utm_content: NotRequired[CampaignTag]
    #: The id that an advertising network gave the click, and the parameter that it came in, such as ``gclid``.
    click_id: NotRequired[ClickId]
    click_id_type: NotRequired[Id]
    ip: NotRequired[Ip]


#: Every field with what its column holds when it is not known.
VISITOR_DEFAULTS: Final[dict[str, str | bool]] = {
    name: False if name == "is_bot" else "" for name in Visitor.__annotations__
}
DEVICE_TYPES: Final = get_args(DeviceType)
