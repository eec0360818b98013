"""Settings of the processor, and of replays and imports, which fold by the same rules."""

from typing import Literal

from pydantic import Field, SecretStr

from topics.session import MAX_TIMEOUT_SECONDS
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.rules import MINUTE_MS, CampaignChange, RenewalContext, Rules
from tracker.settings.group import SettingsGroup


class ProcessSettings(SettingsGroup):
    """The session rules, and how a worker reads, checkpoints and answers."""

    process_host: str = Field(default="127.0.0.1", description="address that the processor's web server listens on")
    process_advertised_host: str = Field(
        default="", description="host by which other workers reach this one; default: process_host"
    )
    process_port: int = Field(default=6066, ge=1, le=65535, description="port of the processor's web server")
    process_processes: int = Field(
        default=0,
        ge=0,
        le=64,
        description="workers under one parent, which speaks for all of them on process_port; the first listens on "
        "process_port + 10, the second, named worker_id.2, on + 20; 0: one, without a parent",
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
    duplicate_window_seconds: int = Field(
        default=86_400,
        ge=1,
        description="how long an event that comes again is known as a duplicate; "
        "never longer than closed_stub_retention_seconds",
    )
    passive_grace_seconds: int = Field(
        default=86_400,
        ge=0,
        description="how long after its end a session takes passive events, such as a page that is left; "
        "never longer than closed_stub_retention_seconds",
    )
    renewal_context: RenewalContext = Field(
        default="all",
        description="context that a session inherits from the one before it under its key: all; identity: user, "
        "visitor, workspace, project and environments; none: the workspace alone",
    )
    campaign_change: CampaignChange = Field(
        default="keep",
        description="what a visitor who comes by another campaign within a session does; keep: the session goes on "
        "and keeps both in its touches; split: it ends, and the next one begins",
    )
    upgrade_from: Literal["", "0.1.0"] = Field(
        default="",
        description="release that some workers of the group still run: states are written so that it can read them",
    )
    forward_secret: SecretStr = Field(
        default=SecretStr(""),
        description="secret by which processors know what they have forwarded themselves; the same for all of them, "
        "and for replays",
    )
    usage_counted: bool = Field(
        default=False,
        description="whether what each workspace sends is counted, for usage_v1 and for quotas (docs/usage.md)",
    )
    tick_interval_ms: int = Field(
        default=1_000, ge=50, le=60_000, description="how often quiet partitions may get a tick"
    )
    chunk_max_records: int = Field(
        default=5_000, ge=1, le=50_000, description="records that are folded and checkpointed as one"
    )
    state_cache_sessions: int = Field(default=20_000, ge=0, description="decoded sessions kept in memory per worker")
    group_commit_interval_ms: int = Field(
        default=5_000, ge=100, description="how often W + 1 is committed for lag tools"
    )
    standby_replicas: int = Field(
        default=1, ge=0, le=8, description="workers that keep a warm copy of each partition's sessions"
    )

    @property
    def session_timeout_ms(self) -> int:
        """The default inactivity gap in milliseconds."""
        return self.session_timeout_seconds * 1000

    @property
    def forward_seal(self) -> ForwardSeal:
        """The secret by which processors seal forwarded records, and replays recognise them."""
        return ForwardSeal(self.forward_secret.get_secret_value())

    @property
    def session_rules(self) -> Rules:
        """The session rules of this deployment: processors and replays fold by the same ones."""
        retention_ms = self.closed_stub_retention_seconds * 1000
        return Rules(
            timeout_ms=self.session_timeout_ms,
            max_length_ms=self.session_max_length_seconds * 1000,
            closed_stub_retention_ms=retention_ms,
            duplicate_window_ms=min(self.duplicate_window_seconds * 1000, retention_ms),
            passive_grace_ms=min(self.passive_grace_seconds * 1000, retention_ms),
            renewal_context=self.renewal_context,
            campaign_change=self.campaign_change,
            layout=2 if self.upgrade_from else 3,
            max_events=self.session_max_events,
            max_context_bytes=self.session_max_context_bytes,
            usage_interval_ms=MINUTE_MS if self.usage_counted else 0,
        )
