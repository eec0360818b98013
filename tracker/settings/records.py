"""Settings of the collector: what becomes of an event's times, its campaign and its personal data."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tracker.settings.group import SettingsGroup


class RecordSettings(SettingsGroup):
    """Which details of an event and its visitor are stored."""

    collect_max_event_age_seconds: int = Field(
        default=86_400,
        ge=0,
        le=31_536_000,
        description="an event's time lies back at most so far; the client's time is kept in a second field",
    )
    collect_max_event_ahead_seconds: int = Field(
        default=300, ge=0, le=86_400, description="an event's time lies ahead at most so far"
    )
    campaign_parameters: str = Field(
        default="",
        description="further parameters of a page's address, such as: src=utm_source, affid=click_id "
        "(utm_source, utm_medium, utm_campaign, utm_term, utm_content or click_id)",
    )
    dnt_policy: Literal["ignore", "anonymous", "drop"] = Field(default="anonymous", description="what DNT: 1 leads to")
    gpc_policy: Literal["ignore", "anonymous", "drop"] = Field(
        default="anonymous", description="what Sec-GPC: 1 leads to"
    )
    ip_policy: Literal["keep", "truncate", "drop"] = Field(
        default="truncate", description="what is stored of the visitor's address"
    )
    url_parameters_dropped: str = Field(
        default="", description="parameters that are left out of all addresses, comma separated, such as: email,phone"
    )
    url_parameters_hashed: str = Field(
        default="", description="parameters of addresses whose values are replaced by keyed hashes, comma separated"
    )
    email_policy: Literal["keep", "hash", "remove"] = Field(
        default="keep", description="what becomes of e-mail addresses in addresses of pages, metadata and other values"
    )
    personal_data_secret: SecretStr = Field(
        default=SecretStr(""),
        description="secret of the hashes, the same for all collectors: 16 characters or more; without it nobody can "
        "compare a hash with a guess",
    )
    geo_country_header: str = Field(default="", description="a trusted proxy's header with the country's two letters")
    geo_region_header: str = Field(default="", description="a trusted proxy's header with the region")
    geo_city_header: str = Field(default="", description="a trusted proxy's header with the city")
    geo_database: Path | None = Field(default=None, description="MaxMind file, for what no header tells")
