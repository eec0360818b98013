"""Settings of the sink and of everything that reads from Tinybird."""

from pydantic import Field, SecretStr

from tracker.settings.group import SettingsGroup


class SinkSettings(SettingsGroup):
    """How to reach Tinybird, its limits, and how rows are gathered into requests."""

    tinybird_url: str = Field(
        default="http://localhost:7181",
        pattern=r"^https?://\S+$",
        description="address of Tinybird or the local one",
    )
    tinybird_token: SecretStr = Field(default=SecretStr("local"), description="token with DATASOURCE:APPEND")
    tinybird_read_token: SecretStr = Field(
        default=SecretStr(""),
        description="token with DATASOURCE:READ and PIPE:READ, for what only reads (verify, session, /reports); "
        "default: tinybird_token",
    )
    tinybird_timeout_seconds: float = Field(
        default=60.0, ge=0.1, le=600, description="longest wait for an answer; then the rows are sent again"
    )
    tinybird_requests_per_second: int = Field(default=100, ge=1, description="Tinybird's limit per datasource")
    tinybird_bytes_per_second: int = Field(
        default=20_000_000, ge=10_000, description="Tinybird's limit per datasource, in NDJSON bytes"
    )
    tinybird_request_max_bytes: int = Field(
        default=10_000_000, ge=1_000, description="Tinybird's largest request, in NDJSON bytes"
    )
    sink_host: str = Field(default="127.0.0.1", description="address that the sink's health pages listen on")
    sink_port: int = Field(default=6068, ge=1, le=65535, description="port of the sink's health pages")
    sink_processes: int = Field(
        default=0,
        ge=0,
        le=64,
        description="workers under one parent, which speaks for all of them on sink_port; the first listens on "
        "sink_port + 10, the second, named worker_id.2, on + 20; 0: one, without a parent",
    )
    sink_batch_max_rows: int = Field(default=50_000, ge=1, description="rows in one request at most")
    sink_batch_max_bytes: int = Field(
        default=8_000_000, ge=1_000, le=10_000_000, description="NDJSON bytes in one request at most"
    )
    sink_batch_window_ms: int = Field(
        default=300, ge=1, le=60_000, description="wait for a batch to fill: less while calm, more while throttled"
    )
    sink_max_batches_in_flight: int = Field(
        default=4, ge=1, le=64, description="requests under way at a time per datasource"
    )
    sink_max_held_bytes: int = Field(
        default=128_000_000,
        ge=1_000_000,
        description="memory for rows that are not written yet, per datasource; then Kafka keeps the rest",
    )

    @property
    def tinybird_reader(self) -> SecretStr:
        """The token for reading only."""
        return self.tinybird_read_token if self.tinybird_read_token.get_secret_value() else self.tinybird_token
