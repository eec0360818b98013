"""Settings of the collector."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator


class CollectSettings(BaseModel):
    """Where the collector listens, whom it lets in, which facts of a visitor it stores, and its limits."""

    collect_host: str = Field(default="127.0.0.1", description="address that the collector listens on")
    collect_port: int = Field(default=8000, ge=1, le=65535, description="port that the collector listens on")
    collect_metrics_host: str = Field(
        default="127.0.0.1", description="address that the collector shows its metrics on; keep it from the world"
    )
    collect_metrics_port: int = Field(default=6065, ge=1, le=65535, description="port of the collector's metrics")
    collect_max_body_bytes: int = Field(default=262_144, ge=1_024, description="largest request body")
    collect_max_connections: int = Field(default=10_000, ge=1, description="open connections at most; then 503")
    collect_ack_timeout_ms: int = Field(
        default=2_000, ge=100, le=60_000, description="wait for Kafka's ack, then events go to the spill"
    )
    collect_processes: int = Field(
        default=0, ge=0, le=256, description="processes on the port, under a parent; 0: one, without a parent"
    )
    migration_file: Path | None = Field(
        default=None, description="flags of a migration from the queue (docs/migration.md); default: none is under way"
    )
    spill_max_bytes: int = Field(
        default=1_073_741_824, ge=0, description="what one collector keeps on disk while Kafka is away; 0: nothing, 503"
    )
    collect_open: bool = Field(default=False, description="take events without keys on any address, not only localhost")
    collect_key_events_per_second: float = Field(default=20_000, gt=0, description="events a second and write key")
    collect_ip_requests_per_second: float = Field(default=5_000, gt=0, description="requests a second and address")
    collect_burst_seconds: float = Field(default=5, ge=1, le=600, description="seconds' worth that may come at once")
    keys_file: Path | None = Field(default=None, description="write and read keys, TOML or JSON; watched for changes")
    trusted_proxies: str = Field(
        default="", description="networks (CIDR, comma separated) whose X-Forwarded-For and geo headers are believed"
    )
    cookie_name: str = Field(
        default="session_id", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", description="name of the session cookie"
    )
    cookie_secure: bool = Field(default=True, description="send the cookie over HTTPS (and to localhost) only")
    cookie_same_site: Literal["lax", "strict", "none"] = Field(default="lax", description="SameSite of the cookie")
    cookie_domain: str = Field(
        default="", pattern=r"^[A-Za-z0-9.-]{0,253}$", description="Domain of the cookie; default: this host only"
    )
    cookie_write: bool = Field(default=True, description="set and prolong the cookie; false: only read it")
    dnt_policy: Literal["ignore", "anonymous", "drop"] = Field(default="anonymous", description="what DNT: 1 leads to")
    gpc_policy: Literal["ignore", "anonymous", "drop"] = Field(
        default="anonymous", description="what Sec-GPC: 1 leads to"
    )
    ip_policy: Literal["keep", "truncate", "drop"] = Field(
        default="truncate", description="what is stored of the visitor's address"
    )
    geo_country_header: str = Field(default="", description="a trusted proxy's header with the country's two letters")
    geo_region_header: str = Field(default="", description="a trusted proxy's header with the region")
    geo_city_header: str = Field(default="", description="a trusted proxy's header with the city")
    geo_database: Path | None = Field(default=None, description="MaxMind file, for what no header tells")
    reports_internal_networks: str = Field(
        default="", description="addresses or networks of your own people, comma separated: /reports leaves them out"
    )
    reports_internal_users: str = Field(
        default="", description="user ids of your own people, comma separated: /reports leaves them out"
    )
    reports_internal_environments: str = Field(
        default="", description="environments that are not the real one, comma separated: /reports leaves them out"
    )
    process_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="any processor's address, it routes to the owner; default: the one on this machine",
    )

    @model_validator(mode="after")
    def _browsers_take_the_cookie(self) -> Self:
        if self.cookie_same_site == "none" and not self.cookie_secure:
            raise ValueError("browsers refuse TRACKER_COOKIE_SAME_SITE=none without TRACKER_COOKIE_SECURE=true")
        return self
