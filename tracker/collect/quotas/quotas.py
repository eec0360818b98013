"""Which workspaces have used up their events of today, or soon will. No clock is read here: ``now_ms`` is given."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from topics.catalog import DAY_MS
from tracker.collect.access.keys import KeyRing, Quota, WriteKey
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Headers
from tracker.collect.metrics import AccessMetrics
from tracker.settings import Settings

#: What refused requests are counted as in ``tracker_collect_rate_limited_total``.
LIMIT: Final = "workspace_quota"


class _Standing(NamedTuple):
    """A workspace that is warned or refused, until its day ends."""

    quota: Quota
    used: int
    ends_ms: int

    @property
    def is_over(self) -> bool:
        return self.quota.events_per_day is not None and self.used >= self.quota.events_per_day


class Quotas:
    """Refuses and warns. A workspace that is within its quota, or has none, costs one look into an empty dictionary."""

    def __init__(self, metrics: AccessMetrics) -> None:
        """Begin without quotas."""
        self._metrics = metrics
        self.by_workspace: Mapping[str, Quota] = {}
        self._standings: dict[str, _Standing] = {}
        self._shown: set[str] = set()

    def use(self, by_workspace: Mapping[str, Quota]) -> None:
        """Use other quotas from now on. Which workspaces have used theirs up is known after the next ``note``."""
        self.by_workspace = by_workspace
        self._standings = {}

    def note(self, used: Mapping[str, int], day: str) -> None:
        """Take over how many events each workspace has sent on a day, such as ``2026-11-28``."""
        ends_ms = begin_ms(day) + DAY_MS
        standings = {}
        for name, quota in self.by_workspace.items():
            standing = _Standing(quota, used.get(name, 0), ends_ms)
            self._show(name, standing)
            if standing.used >= quota.warns_at:
                standings[name] = standing
        for name in self._shown - set(self.by_workspace):  # a gauge that is shared by processes can't be taken back
            self._metrics.quota_used_events.labels(name).set(0)
        self._shown |= set(self.by_workspace)
        self._standings = standings

    def check(self, key: WriteKey | None, now_ms: int) -> None:
        """Let a request pass that brings events.

        Raises:
            RequestError: ``quota_exceeded``, with the time until the day ends.
        """
        standing = self._standing(key, now_ms)
        if standing is not None and standing.is_over:
            self._metrics.count_limited(LIMIT)
            raise RequestError(
                "quota_exceeded",
                f"this workspace has sent its events of today; it may go on at {_iso(standing.ends_ms)}",
                retry_after_seconds=math.ceil((standing.ends_ms - now_ms) / 1000),
            )

    def headers(self, key: WriteKey | None, now_ms: int) -> Headers:
        """Return what a response says of a quota that is nearly used up: to services only, not to pages."""
        standing = self._standing(key, now_ms)
        if standing is None or key is None or key.is_public:
            return ()
        limit = standing.quota.events_per_day or standing.quota.warns_at
        return (
            ("X-Quota-Limit", str(limit)),
            ("X-Quota-Used", str(standing.used)),
            ("X-Quota-Reset", _iso(standing.ends_ms)),
        )

    def _standing(self, key: WriteKey | None, now_ms: int) -> _Standing | None:
        if key is None or not self._standings:
            return None
        standing = self._standings.get(key.workspace_id)
        return standing if standing is not None and now_ms < standing.ends_ms else None

    def _show(self, name: str, standing: _Standing) -> None:
        self._metrics.quota_used_events.labels(name).set(standing.used)
        self._metrics.quota_warn_events.labels(name).set(standing.quota.warns_at)
        limit = standing.quota.events_per_day
        self._metrics.quota_max_events.labels(name).set(math.inf if limit is None else limit)


def day_of(now_ms: int) -> str:
    """Return the day (UTC) of a time."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


def why_not_counted(settings: Settings, keys: KeyRing) -> str | None:
    """Say why the quotas of a keys file can't be used; None: they can, or there are none."""
    if not keys.quotas or settings.usage_counted:
        return None
    return (
        "the keys file (TRACKER_KEYS_FILE) has quotas, but nothing is counted: set TRACKER_USAGE_COUNTED=true here and "
        "for the processors (docs/usage.md)"
    )


def begin_ms(day: str) -> int:
    """Return when a day begins."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
