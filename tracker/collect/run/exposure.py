"""Whether the collector may listen on its address."""

from tracker.collect.access.local_clients import is_loopback
from tracker.errors import ConfigurationError
from tracker.settings import Settings


def check_exposure(settings: Settings) -> None:
    """Refuse to be open to the world by accident.

    Raises:
        ConfigurationError: there are no keys, and other machines can reach the address.
    """
    if settings.keys_file is not None or settings.collect_open or is_loopback(settings.collect_host):
        return
    raise ConfigurationError(
        f"anybody who reaches {settings.collect_host}:{settings.collect_port} could write events and read sessions: "
        "set TRACKER_KEYS_FILE (docs/collect.md), or TRACKER_COLLECT_OPEN=true if something else keeps strangers out"
    )
