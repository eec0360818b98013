"""A workspace that has sent its events of the day waits until it ends; one that nearly has is told."""

from collections.abc import Mapping
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError

from tests.sessions_log import START_MS
from topics.catalog import DAY_MS
from tracker.collect.access.keys import KeyRing, KeysFile, Quota, WriteKey
from tracker.collect.app import Collector
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.collect.metrics import AccessMetrics, CollectMetrics
from tracker.collect.quotas.quotas import Quotas, begin_ms, day_of, why_not_counted
from tracker.errors import ConfigurationError
from tracker.settings import Settings

DAY = "2026-01-01"
NOON_MS = START_MS + DAY_MS // 2
MIDNIGHT = "2026-01-02T00:00:00Z"
SERVICE = WriteKey.model_validate({"name": "service", "key": "service-key-of-shop", "workspace_id": "shop"})
PAGE = WriteKey.model_validate(
    {"name": "page", "key": "page-key-of-shop", "workspace_id": "shop", "origins": ["https://shop.example"]}
)
OTHER = WriteKey.model_validate({"name": "lab", "key": "service-key-of-lab", "workspace_id": "lab"})


def quota(**fields: Any) -> Quota:
    return Quota.model_validate({"workspace_id": "shop", **fields})


def quotas(used: Mapping[str, int], metrics: AccessMetrics | None = None, **fields: Any) -> Quotas:
    found = Quotas(metrics or CollectMetrics().access)
    found.use({"shop": quota(**fields)})
    found.note(used, DAY)
    return found


def refusal(found: Quotas, key: WriteKey | None = SERVICE, now_ms: int = NOON_MS) -> RequestError | None:
    try:
        found.check(key, now_ms)
    except RequestError as error:
        return error
    return None


# -- Who is refused


def test_the_last_event_of_the_day_is_taken_and_the_next_is_refused_until_midnight() -> None:
    assert refusal(quotas({"shop": 99}, events_per_day=100)) is None
    refused = refusal(quotas({"shop": 100}, events_per_day=100))
    assert refused is not None
    assert (refused.code, refused.status) == ("quota_exceeded", 429)
    assert refused.retry_after_seconds == DAY_MS // 2 // 1000
    assert MIDNIGHT in refused.message
    assert "100" not in refused.message, "a page's key is public, the figures are not"


def test_the_wait_is_never_rounded_down() -> None:
    refused = refusal(quotas({"shop": 100}, events_per_day=100), now_ms=START_MS + DAY_MS - 1)
    assert refused is not None
    assert refused.retry_after_seconds == 1


def test_the_day_ends_at_midnight_though_nothing_new_was_read() -> None:
    found = quotas({"shop": 100}, events_per_day=100)
    assert refusal(found, now_ms=START_MS + DAY_MS) is None
    assert found.headers(SERVICE, START_MS + DAY_MS) == ()


def test_a_workspace_that_has_sent_nothing_yet_may_send_its_first_event() -> None:
    metrics = CollectMetrics()
    found = quotas({}, metrics.access, events_per_day=1)
    assert refusal(found) is None
    assert found.headers(SERVICE, NOON_MS) == ()
    assert b'tracker_collect_quota_used_events{workspace="shop"} 0.0' in metrics.exposition()


def test_other_workspaces_and_collectors_without_keys_are_not_touched() -> None:
    found = quotas({"shop": 100, "lab": 10_000}, events_per_day=100)
    assert refusal(found, PAGE) is not None
    assert refusal(found, OTHER) is None
    assert refusal(found, None) is None


def test_a_quota_that_only_warns_refuses_nobody() -> None:
    found = quotas({"shop": 1_000}, warn_events_per_day=10)
    assert refusal(found) is None
    assert dict(found.headers(SERVICE, NOON_MS))["X-Quota-Limit"] == "10"


def test_a_changed_keys_file_frees_at_once_and_binds_again_with_the_next_reading() -> None:
    found = quotas({"shop": 100}, events_per_day=100)
    found.use({"shop": quota(events_per_day=200)})
    assert refusal(found) is None
    found.note({"shop": 200}, DAY)
    assert refusal(found) is not None


def test_each_refusal_is_counted() -> None:
    metrics = CollectMetrics()
    found = quotas({"shop": 100}, metrics.access, events_per_day=100)
    for _ in range(3):
        assert refusal(found) is not None
    assert b'tracker_collect_rate_limited_total{limit="workspace_quota"} 3.0' in metrics.exposition()


# -- Who is warned


@pytest.mark.parametrize(("used", "is_warned"), [(79, False), (80, True), (100, True)])
def test_a_service_is_told_from_80_percent_on(used: int, is_warned: bool) -> None:
    headers = quotas({"shop": used}, events_per_day=100).headers(SERVICE, NOON_MS)
    told = (("X-Quota-Limit", "100"), ("X-Quota-Used", str(used)), ("X-Quota-Reset", MIDNIGHT))
    assert headers == (told if is_warned else ())


@pytest.mark.parametrize(("used", "is_warned"), [(800, False), (801, True)])
def test_80_percent_are_rounded_up(used: int, is_warned: bool) -> None:
    assert bool(quotas({"shop": used}, events_per_day=1_001).headers(SERVICE, NOON_MS)) == is_warned


def test_before_the_keys_file_is_read_there_are_no_quotas() -> None:
    found = Quotas(CollectMetrics().access)
    found.note({"shop": 1_000}, DAY)
    assert (dict(found.by_workspace), refusal(found), found.headers(SERVICE, NOON_MS)) == ({}, None, ())


def test_a_page_is_told_nothing() -> None:
    found = quotas({"shop": 90}, events_per_day=100)
    assert found.headers(PAGE, NOON_MS) == ()
    assert found.headers(None, NOON_MS) == ()


def test_the_metrics_name_each_workspace_that_has_a_quota() -> None:
    metrics = CollectMetrics()
    found = quotas({"shop": 81, "lab": 7}, metrics.access, events_per_day=100)
    shown = metrics.exposition().decode()
    assert 'tracker_collect_quota_used_events{workspace="shop"} 81.0' in shown
    assert 'tracker_collect_quota_warn_events{workspace="shop"} 80.0' in shown
    assert 'tracker_collect_quota_max_events{workspace="shop"} 100.0' in shown
    assert "lab" not in shown

    found.use({"lab": Quota(workspace_id="lab", warn_events_per_day=5)})
    found.note({"shop": 82, "lab": 7}, DAY)
    shown = metrics.exposition().decode()
    assert 'tracker_collect_quota_used_events{workspace="shop"} 0.0' in shown
    assert 'tracker_collect_quota_used_events{workspace="lab"} 7.0' in shown
    assert 'tracker_collect_quota_max_events{workspace="lab"} +Inf' in shown


def test_days_are_those_of_utc() -> None:
    assert [day_of(START_MS - 1), day_of(START_MS), day_of(START_MS + DAY_MS - 1)] == ["2025-12-31", DAY, DAY]
    assert begin_ms(DAY) == START_MS


# -- The keys file


@pytest.mark.parametrize(
    ("fields", "warns_at"),
    [
        ({"events_per_day": 100}, 80),
        ({"events_per_day": 1}, 1),
        ({"events_per_day": 6}, 5),
        ({"events_per_day": 100, "warn_events_per_day": 100}, 100),
        ({"events_per_day": 100, "warn_events_per_day": 1}, 1),
        ({"warn_events_per_day": 7}, 7),
    ],
)
def test_a_warning_comes_at_80_percent_unless_the_file_says_when(fields: dict[str, int], warns_at: int) -> None:
    assert quota(**fields).warns_at == warns_at


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "give events_per_day, warn_events_per_day or both"),
        ({"events_per_day": 100, "warn_events_per_day": 101}, "warn_events_per_day is above events_per_day"),
        ({"events_per_day": 0}, "greater than 0"),
        ({"warn_events_per_day": 0}, "greater than 0"),
        ({"events_per_day": 1, "workspace_id": ""}, "at least 1 character"),
        ({"events_per_month": 1}, "Extra inputs"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        quota(**fields)


def test_a_workspace_has_one_quota() -> None:
    one = {"workspace_id": "shop", "events_per_day": 1}
    ring = KeyRing(KeysFile.model_validate({"quotas": [one, one | {"workspace_id": "lab"}]}))
    assert {name: each.events_per_day for name, each in ring.quotas.items()} == {"shop": 1, "lab": 1}
    with pytest.raises(ValidationError, match="two quotas are for the same workspace"):
        KeysFile.model_validate({"quotas": [one, one]})


def keys_file(tmp_path: Any, *lines: str) -> Any:
    path = tmp_path / "keys.toml"
    path.write_text(
        "\n".join(
            (
                "[[write_keys]]",
                'name = "page"',
                'key = "page-key-of-shop"',
                'workspace_id = "shop"',
                'origins = ["*"]',
                *lines,
            )
        )
    )
    return path


QUOTA = ("[[quotas]]", 'workspace_id = "shop"', "events_per_day = 100")


def test_quotas_without_counting_are_refused_at_the_start(tmp_path: Any) -> None:
    path = keys_file(tmp_path, *QUOTA)
    with pytest.raises(ConfigurationError, match="TRACKER_USAGE_COUNTED=true"):
        Collector(Settings(_env_file=None, keys_file=path))
    Collector(Settings(_env_file=None, keys_file=path, usage_counted=True))
    Collector(Settings(_env_file=None, keys_file=keys_file(tmp_path)))


def test_nothing_is_wrong_with_quotas_that_are_counted() -> None:
    ring = KeyRing(KeysFile.model_validate({"quotas": [{"workspace_id": "shop", "events_per_day": 1}]}))
    assert why_not_counted(Settings(_env_file=None, usage_counted=True), ring) is None
    assert why_not_counted(Settings(_env_file=None), KeyRing(KeysFile())) is None
    assert "docs/usage.md" in (why_not_counted(Settings(_env_file=None), ring) or "")


# -- The endpoints


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/events/track", 429),
        ("POST", "/api/v1/events/session", 429),
        ("GET", "/api/v1/events/pixel.gif", 429),
        ("DELETE", "/api/v1/events/session/s1", 403),  # its own reason: a public key without the cookie
        ("POST", "/api/v1/events/session/s1/flush", 403),
    ],
)
async def test_what_brings_events_is_refused_unread_and_sessions_can_still_be_closed(
    tmp_path: Any, method: str, path: str, status: int
) -> None:
    collector = Collector(Settings(_env_file=None, keys_file=keys_file(tmp_path, *QUOTA), usage_counted=True))
    today = day_of(begin_ms(DAY) + 400 * DAY_MS * 10)
    collector._quotas.note({"shop": 100}, today)
    headers = CIMultiDictProxy(CIMultiDict({"X-Write-Key": "page-key-of-shop"}))
    response = await collector.handle(Request(method, path, "", headers, b"not JSON", "198.51.100.1")).response()
    assert response.status == status
    assert ("Retry-After" in dict(response.headers)) == (status == 429)
