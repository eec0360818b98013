"""The Tinybird clients that the settings describe. ``tracker.tinybird`` itself knows no settings."""

from contextlib import AbstractAsyncContextManager

from tracker.settings import Settings
from tracker.tinybird.admin import DatasourceAdmin, open_datasource_admin
from tracker.tinybird.client import EVENTS, SESSIONS, TinybirdClient
from tracker.tinybird.pacing import ApiLimits
from tracker.tinybird.sql import QUERY_TIMEOUT_SECONDS, QueryApi, open_query_api


def tinybird_client(settings: Settings, *, events: str = EVENTS, sessions: str = SESSIONS) -> TinybirdClient:
    """Return an unopened client; ``events`` and ``sessions`` may name other datasources with the same columns."""
    return TinybirdClient(
        settings.tinybird_url,
        settings.tinybird_token,
        limits=ApiLimits(
            requests_per_second=settings.tinybird_requests_per_second,
            bytes_per_second=settings.tinybird_bytes_per_second,
            request_max_bytes=settings.tinybird_request_max_bytes,
        ),
        timeout_seconds=settings.tinybird_timeout_seconds,
        events=events,
        sessions=sessions,
    )


def query_api(
    settings: Settings, timeout_seconds: float = QUERY_TIMEOUT_SECONDS
) -> AbstractAsyncContextManager[QueryApi]:
    """Return the query API, to be entered; it uses the token that may read."""
    return open_query_api(settings.tinybird_url, settings.tinybird_reader, timeout_seconds)


def datasource_admin(settings: Settings) -> AbstractAsyncContextManager[DatasourceAdmin]:
    """Return the data source API, to be entered; its token needs the scope DATASOURCES:CREATE."""
    return open_datasource_admin(settings.tinybird_url, settings.tinybird_token)
