"""``/metrics`` on a separate port: the collector's port is for the world, its metrics are not."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tracker.observe.internal_token import InternalToken
from tracker.observe.pages import metrics_page, serving
from tracker.settings import Settings


def serving_metrics(exposition: Callable[[], bytes], settings: Settings) -> AbstractAsyncContextManager[None]:
    """Serve the metrics while the block runs.

    Raises:
        ConfigurationError: on entry, if the port can't be listened on, or must not be without a secret.
    """
    return serving(
        {"/metrics": metrics_page(exposition)},
        settings.collect_metrics_host,
        settings.collect_metrics_port,
        token=InternalToken.of(settings),
        port_setting="TRACKER_COLLECT_METRICS_PORT",
    )
