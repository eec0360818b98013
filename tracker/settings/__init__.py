"""Every setting, from the environment (prefix ``TRACKER_``) or a ``.env`` file, with its unit last in its name.

A module per group; ``Settings`` has them all, and each stage reads the groups that it needs.
"""

from pydantic_settings import BaseSettings, SettingsConfigDict

from tracker.settings.access import AccessSettings
from tracker.settings.collect import CollectSettings
from tracker.settings.kafka import KafkaSettings
from tracker.settings.local import LocalSettings
from tracker.settings.process import ProcessSettings
from tracker.settings.records import RecordSettings
from tracker.settings.shared import SharedSettings
from tracker.settings.sink import SinkSettings


class Settings(
    LocalSettings,
    SinkSettings,
    ProcessSettings,
    RecordSettings,
    AccessSettings,
    CollectSettings,
    SharedSettings,
    KafkaSettings,
    BaseSettings,
):
    """Settings of all stages; each stage reads its part. Durations and sizes carry their unit in the name."""

    @property
    def processor_url(self) -> str:
        """Where the state of sessions is asked for: a processor's address, without a slash at its end."""
        return (self.process_url or f"http://localhost:{self.process_port}").rstrip("/")

    model_config = SettingsConfigDict(env_prefix="TRACKER_", env_file=".env", extra="ignore", frozen=True)
