"""Settings of the stack for one machine: ``tracker dev``, ``tracker demo``, ``tracker local``."""

from pathlib import Path

from pydantic import Field

from tracker.settings.group import SettingsGroup


class LocalSettings(SettingsGroup):
    """The local Kafka, the local Tinybird and the demo's browser."""

    kafka_local_heap_mb: int = Field(default=512, ge=128, description="heap of the local broker")
    cache_dir: Path = Field(
        default=Path(".cache"), description="downloads that every run shares: the local broker's jars"
    )
    tinybird_project_dir: Path | None = Field(
        default=None, description="folder whose datasources/ and pipes/ the local Tinybird serves; default: ours"
    )
    local_tinybird_host: str = Field(
        default="127.0.0.1", description="address that the local Tinybird listens on; it has no protection"
    )
    local_tinybird_requests_per_second: int = Field(
        default=100, ge=1, description="the local Tinybird's limit per datasource"
    )
    local_tinybird_max_body_bytes: int = Field(
        default=10_000_000, ge=1_000, description="the local Tinybird's largest body, unpacked"
    )
    chromium_path: Path | None = Field(
        default=None, description="browser of the demo check; default: the one on the PATH"
    )
