"""Every setting, from the environment (prefix ``TRACKER_``) or a ``.env`` file, with its unit last in its name."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.session import MAX_TIMEOUT_SECONDS
from tracker.sessions.rules import Rules


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() or None if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of all stages; each reads what it needs. Durations and sizes carry their unit in the name."""

    model_config = SettingsConfigDict(env_prefix="TRACKER_", env_file=".env", extra="ignore", frozen=True)

    # Kafka
    kafka_bootstrap: str = Field(
        default="localhost:9092", description="host:port of the Kafka brokers, comma separated"
    )
    kafka_security_protocol: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], BeforeValidator(_lower)
    ] = Field(default="plaintext", description="whether clients encrypt (ssl) and log in (sasl)")
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, BeforeValidator(_upper)
    ] = Field(default=None, description="how clients log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    kafka_sasl_username: str = Field(default="", description="who clients log in as")
    kafka_sasl_password: SecretStr = Field(default=SecretStr(""), description="with what they log in")
    kafka_ssl_ca_file: Path | None = Field(
        default=None, description="PEM file of the CA that signed the brokers' certificates; default: the system's CAs"
    )
    kafka_ssl_cert_file: Path | None = Field(
        default=None, description="PEM file of the clients' own certificate, where brokers ask for one"
    )
    kafka_ssl_key_file: Path | None = Field(default=None, description="PEM file of that certificate's key, unencrypted")
    kafka_ssl_check_hostname: bool = Field(
        default=True, description="whether a broker's certificate must be for the name that it is reached by"
    )
    topic_prefix: str = Field(default="tracker.", max_length=100, description="prefix of every topic and group name")
    partitions: int = Field(default=16, ge=1, le=4096, description="partitions of every topic but dead letters")
    replication_factor: int = Field(default=1, ge=1, le=9, description="replicas of every topic; 3 in production")
    data_dir: Path = Field(default=Path(".data"), description="local state: RocksDB, and the local stack's files")

    # Collect
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
    process_url: str = Field(
        default="http://localhost:6066", description="any processor's address; it routes to the owner"
    )

    # Process
    process_host: str = Field(default="127.0.0.1", description="address that the processor's web server listens on")
    process_advertised_host: str = Field(
        default="", description="host by which other workers reach this one; default: process_host"
    )
    process_port: int = Field(default=6066, ge=1, le=65535, description="port of the processor's web server")
    worker_id: str = Field(
        default="worker-1", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="name of this worker's data directory"
    )
    session_timeout_seconds: int = Field(
        default=1800, ge=1, le=MAX_TIMEOUT_SECONDS, description="inactivity gap that closes a session"
    )
    session_max_length_seconds: int = Field(default=86_400, ge=1, description="longest session")
    session_max_events: int = Field(
        default=100_000, ge=1, le=1_000_000_000, description="events after which a session is closed and renewed"
    )
    # A visitor alone may have 3,600 characters: with less room each of its sessions would be cut at its first event.
    session_max_context_bytes: int = Field(
        default=8_192, ge=4_096, description="context and visitor at which a session is closed and renewed"
    )
    closed_stub_retention_seconds: int = Field(
        default=604_800, ge=60, description="how long a closed session's key is known"
    )
    duplicate_window_events: int = Field(default=128, ge=1, le=4096, description="event ids that a session remembers")
    tick_interval_ms: int = Field(
        default=1_000, ge=50, le=60_000, description="how often quiet partitions may get a tick"
    )
    chunk_max_records: int = Field(
        default=1_000, ge=1, le=50_000, description="records that are folded and checkpointed as one"
    )
    state_cache_sessions: int = Field(default=50_000, ge=0, description="decoded sessions kept in memory per worker")
    group_commit_interval_ms: int = Field(
        default=5_000, ge=100, description="how often W + 1 is committed for lag tools"
    )
    standby_replicas: int = Field(
        default=1, ge=0, le=8, description="workers that keep a warm copy of each partition's sessions"
    )
    kafka_session_timeout_ms: int = Field(
        default=10_000, ge=1_000, description="silence after which a worker is evicted"
    )

    # Sink
    tinybird_url: str = Field(
        default="http://localhost:7181", description="base address of Tinybird or of the local one"
    )
    tinybird_token: SecretStr = Field(default=SecretStr("local"), description="token with DATASOURCE:APPEND")
    tinybird_read_token: SecretStr = Field(
        default=SecretStr(""),
        description="token with DATASOURCE:READ, for what only reads (verify, session); default: tinybird_token",
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

    # Dead letters
    dead_letter_max_percent: int = Field(
        default=50, ge=1, le=100, description="share of dead letters above which process and sink stop; 100: never"
    )
    dead_letter_window_records: int = Field(
        default=2_000, ge=10, le=1_000_000, description="records of a partition over which that share is taken"
    )
    dead_letter_min_letters: int = Field(
        default=500, ge=1, le=1_000_000, description="fewer letters than this in the window never stop anything"
    )
    dead_letter_max_retries: int = Field(
        default=5, ge=1, le=1_000, description="how often tracker dead-letters retry sends a record again"
    )

    # Tracing
    tracing_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="OTLP/HTTP address that spans go to, such as http://localhost:4318; empty: no tracing",
    )
    tracing_sample_ratio: float = Field(
        default=0.01, ge=0, le=1, description="share of requests that are traced, of those whose sender does not say"
    )

    # Local stack
    kafka_local_heap_mb: int = Field(default=512, ge=128, description="heap of the local broker")
    cache_dir: Path = Field(
        default=Path(".cache"), description="downloads that every run shares: the local broker's jars"
    )
    tinybird_project_dir: Path = Field(
        default=Path("tinybird"), description="folder whose datasources/ the local Tinybird serves"
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
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="least level that is logged"
    )
    log_json: bool = Field(default=False, description="log as JSON lines instead of for a person")

    @model_validator(mode="after")
    def _browsers_take_the_cookie(self) -> Self:
        if self.cookie_same_site == "none" and not self.cookie_secure:
            raise ValueError("browsers refuse TRACKER_COOKIE_SAME_SITE=none without TRACKER_COOKIE_SECURE=true")
        return self

    @property
    def tinybird_reader(self) -> SecretStr:
        """The token of what only reads."""
        return self.tinybird_read_token if self.tinybird_read_token.get_secret_value() else self.tinybird_token

    @property
    def session_timeout_ms(self) -> int:
        """The default inactivity gap in milliseconds."""
        return self.session_timeout_seconds * 1000

    @property
    def session_rules(self) -> Rules:
        """The session rules of this deployment: processors and replays fold by the same ones."""
        return Rules(
            timeout_ms=self.session_timeout_ms,
            max_length_ms=self.session_max_length_seconds * 1000,
            closed_stub_retention_ms=self.closed_stub_retention_seconds * 1000,
            duplicate_window_events=self.duplicate_window_events,
            max_events=self.session_max_events,
            max_context_bytes=self.session_max_context_bytes,
        )
