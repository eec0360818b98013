"""Settings of the collector: who may send what, and how much."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tracker.settings.group import SettingsGroup


class AccessSettings(SettingsGroup):
    """Keys, proxies, cookies and limits. Rates hold for all processes of a collector together."""

    keys_file: Path | None = Field(
        default=None, description="write and read keys, TOML or JSON by its ending; watched for changes"
    )
    collect_open: bool = Field(default=False, description="take events without keys on any address, not only localhost")
    trusted_proxies: str = Field(
        default="", description="networks (CIDR, comma separated) whose X-Forwarded-For and geo headers are believed"
    )
    collect_burst_seconds: float = Field(
        default=5, ge=1, le=600, description="seconds' worth of each rate that may come at once"
    )
    collect_ip_requests_per_second: float = Field(default=500, gt=0, description="requests a second and address")
    collect_ip_events_per_second: float = Field(default=2_000, gt=0, description="events a second and address")
    collect_ip_invalid_per_second: float = Field(
        default=20, gt=0, description="invalid events a second and address; then the address waits"
    )
    collect_ip_new_sessions_per_second: float = Field(default=50, gt=0, description="new sessions a second and address")
    collect_ip_max_connections: int = Field(default=1_000, ge=1, description="open connections of one address at most")
    collect_ip_key_percent: float = Field(
        default=20,
        gt=0,
        le=100,
        description="share of a key's rate that one address may use; services have no such limit",
    )
    collect_key_events_per_second: float = Field(default=20_000, gt=0, description="events a second and write key")
    collect_key_new_sessions_per_second: float = Field(
        default=2_000, gt=0, description="new sessions a second and write key"
    )
    cookie_name: str = Field(
        default="tracker_session",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$",
        description="name of the session cookie; session_id for those who come from the plan's system",
    )
    cookie_foreign_ids: bool = Field(
        default=False, description="take ids from the cookie that neither the collector nor tracker.js has minted"
    )
    cookie_secure: bool = Field(default=True, description="send the cookie over HTTPS (and to localhost) only")
    cookie_same_site: Literal["lax", "strict", "none"] = Field(default="lax", description="SameSite of the cookie")
    cookie_domain: str = Field(
        default="", pattern=r"^[A-Za-z0-9.-]{0,253}$", description="Domain of the cookie; default: this host only"
    )
    cookie_write: bool = Field(default=True, description="set and prolong the cookie; false: only read it")
    visitor_cookie_name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{0,64}$",
        description="name of the cookie that keeps an id of the visitor for 13 months, once the visitor has agreed to "
        "analytics, such as tracker_visitor; it has the other cookie's attributes; default: there is none",
    )

    @model_validator(mode="after")
    def _browsers_take_the_cookies(self) -> Self:
        if self.cookie_same_site == "none" and not self.cookie_secure:
            raise ValueError("browsers refuse TRACKER_COOKIE_SAME_SITE=none without TRACKER_COOKIE_SECURE=true")
        if self.visitor_cookie_name == self.cookie_name:
            raise ValueError("TRACKER_VISITOR_COOKIE_NAME and TRACKER_COOKIE_NAME must not be the same")
        return self
