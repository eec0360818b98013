"""Settings of the collector."""

from pathlib import Path

from pydantic import Field

from tracker.settings.group import SettingsGroup


class CollectSettings(SettingsGroup):
    """Where the collector listens, and how it delivers events."""

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
