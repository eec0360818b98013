"""Whether the collector may listen on its addresses."""

from tracker.errors import ConfigurationError
from tracker.observe.internal_token import InternalToken, check_inner_port, is_loopback
from tracker.settings import Settings


def check_exposure(settings: Settings) -> None:
    """Refuse to be open to the world by accident.

    Raises:
        ConfigurationError: other machines can reach the address and there are no keys, or they can reach the metrics
            and there is no secret.
    """
    check_inner_port(settings.collect_metrics_host, settings.collect_metrics_port, InternalToken.of(settings))
    if settings.keys_file is not None or settings.collect_open or is_loopback(settings.collect_host):
        return
    raise ConfigurationError(
        f"anybody who reaches {settings.collect_host}:{settings.collect_port} could write events and read sessions: "
        "set TRACKER_KEYS_FILE (docs/collect.md), or TRACKER_COLLECT_OPEN=true if something else keeps strangers out"
    )
