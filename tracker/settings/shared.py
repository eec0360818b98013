"""Settings that several stages read."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, field_validator

from tracker.settings.group import SettingsGroup

#: Fits into a header, and can't be guessed if it is random.
_TOKEN: Final = re.compile(r"([!-~]{16,256})?")


class SharedSettings(SettingsGroup):
    """Local state, the worker's name, dead letters, tracing and logs."""

    data_dir: Path = Field(default=Path(".data"), description="local state: RocksDB, and the local stack's files")
    schemas_dir: Path | None = Field(
        default=None, description="folder with the schemas of your own event types, NAME/VERSION.json; default: none"
    )
    internal_token: SecretStr = Field(
        default=SecretStr(""),
        description="secret that the stages show each other, the same for all: 16 to 256 ASCII characters without "
        "spaces; needed where inner ports listen on other addresses than localhost",
    )
    worker_id: str = Field(
        default="worker-1", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="name of this worker's data directory"
    )
    dead_letter_window_records: int = Field(
        default=2_000, ge=10, le=1_000_000, description="last records of a partition in which dead letters are counted"
    )
    dead_letter_min_letters: int = Field(
        default=500, ge=1, le=1_000_000, description="dead letters of one sender among them that raise an alarm"
    )
    dead_letter_stop: bool = Field(
        default=False,
        description="stop process and sink when dead letters are that many and dead_letter_max_percent of the records",
    )
    dead_letter_max_percent: int = Field(
        default=50, ge=1, le=100, description="share of dead letters above which dead_letter_stop stops"
    )
    dead_letter_max_retries: int = Field(
        default=5, ge=1, le=1_000, description="how often tracker dead-letters retry sends a record again"
    )
    tracing_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="OTLP/HTTP address that spans go to, such as http://localhost:4318; empty: no tracing",
    )
    tracing_sample_ratio: float = Field(
        default=0.01, ge=0, le=1, description="share of requests that are traced, of those whose sender does not say"
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="least level that is logged"
    )
    log_json: bool = Field(default=False, description="log as JSON lines instead of for a person")

    @field_validator("internal_token")
    @classmethod
    def _fits_into_a_header(cls, token: SecretStr) -> SecretStr:
        if _TOKEN.fullmatch(token.get_secret_value()) is None:
            raise ValueError("the secret must have 16 to 256 ASCII characters and no space")
        return token
