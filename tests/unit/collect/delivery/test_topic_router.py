"""Records take the lanes that the flags say, in the queue's own words, and flags change while the collector runs."""

import json
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from topics.queue import queue_adapter
from tracker import clock
from tracker.collect.app import watched_flags
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.records.source_records import EncodedRecord
from tracker.errors import ConfigurationError
from tracker.migration.flags import read_flags
from tracker.migration.report import Comparison
from tracker.settings import Settings


def encoded(kind: str = "event", session_id: str = "s1", **data) -> EncodedRecord:
    record = {"type": kind, "session_id": session_id, "timestamp": "2026-11-24T03:43:00.123Z", "data": data}
    value = orjson.dumps(record)
    return EncodedRecord(session_id.encode(), value, session_id, data.get("event_id"), sets_cookie=False)


def write(path, *steps: dict) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"steps": steps}))
    draft.replace(path)


def router_of(path) -> TopicRouter:
    return watched_flags(Settings(topic_prefix="t.", migration_file=path))[1]


CLICK = {"event_type": "click", "event_id": "e1", "workspace_id": "w1", "clicked_element": "button"}


def test_without_flags_everything_goes_to_the_source_topic():
    router = router_of(None)
    assert router.topics == ["t.events"]
    click = encoded(**CLICK)
    assert router.route([click]) == [("t.events", b"s1", click.value)]


def test_the_flags_that_it_is_made_with_count_at_once(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "legacy"})
    flags = read_flags(tmp_path / "flags.json")
    router = TopicRouter(Settings(topic_prefix="t."), flags)
    assert [routed[0] for routed in router.route([encoded(**CLICK)])] == ["t.events.legacy"]


def test_shadow_sends_each_record_to_both_topics_under_the_same_key(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "shadow"})
    router = router_of(tmp_path / "flags.json")
    assert router.topics == ["t.events", "t.events.legacy"]
    click = encoded(**CLICK)
    (first, second) = router.route([click])
    assert first == ("t.events", b"s1", click.value)
    assert second[:2] == ("t.events.legacy", b"s1")
    message = orjson.loads(second[2])
    queue_adapter.validate_json(second[2])
    assert set(message) == {"type", "data", "sessionId", "timestamp"}
    assert message["sessionId"] == "s1"
    assert message["data"]["clicked_element"] == "button"
    assert message["data"]["session_event_sequence"] == 0
    assert message["data"]["page_url"] == ""


def test_the_trackers_own_lane_sends_nothing_to_the_queue(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "tracker"})
    click = encoded(**CLICK)
    assert router_of(tmp_path / "flags.json").route([click]) == [("t.events", b"s1", click.value)]


def test_a_session_is_a_session_message_and_what_the_queue_has_no_word_for_stays_ours(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "legacy"})
    router = router_of(tmp_path / "flags.json")
    ((topic, _, value),) = router.route([encoded("session", user_id="u1", timeout_seconds=600)])
    assert topic == "t.events.legacy"
    assert queue_adapter.validate_json(value)["data"] == {"user_id": "u1", "timeout_seconds": 600}
    ((topic, _, _),) = router.route([encoded("expire")])
    assert topic == "t.events"


def test_flags_change_at_run_time_and_what_is_not_valid_changes_nothing(tmp_path):
    path = tmp_path / "flags.json"
    begun = {"from": "2026-01-01T00:00:00Z", "lane": "legacy"}
    write(path, begun)
    file, router = watched_flags(Settings(topic_prefix="t.", migration_file=path))

    path.write_text("{")
    file.reload()
    assert "flags.json" in file.problem
    assert [routed[0] for routed in router.route([encoded(**CLICK)])] == ["t.events.legacy"]

    write(path, {**begun, "lane": "tracker"})
    file.reload()
    assert "in effect" in file.problem
    assert [routed[0] for routed in router.route([encoded(**CLICK)])] == ["t.events.legacy"]

    path.unlink()
    file.reload()
    assert file.problem
    assert [routed[0] for routed in router.route([encoded(**CLICK)])] == ["t.events.legacy"]

    write(path, begun, {"from": "2099-01-01T00:00:00Z", "lane": "tracker"})
    file.reload()
    assert file.problem is None


def test_a_file_that_is_not_valid_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="TRACKER_MIGRATION_FILE"):
        router_of(tmp_path / "missing.json")


def test_the_report_finds_what_only_one_lane_has_and_what_differs(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "shadow"})
    router = router_of(tmp_path / "flags.json")
    now_ms = clock.now_ms()
    same = Comparison(now_ms - 1_000, now_ms + 1_000, lambda *_: True)
    broken = Comparison(now_ms - 1_000, now_ms + 1_000, lambda *_: True)
    records = [encoded(**{**CLICK, "event_id": f"e{number}"}) for number in range(4)] + [
        encoded("session", user_id="u")
    ]
    for topic, _, value in router.route(records):
        lane = "legacy" if topic.endswith("legacy") else "tracker"
        same.take(lane, value, now_ms)
        if lane == "tracker" and b'"e1"' in value:
            continue
        if lane == "legacy" and b'"e2"' in value:
            continue
        if lane == "legacy" and b'"e3"' in value:
            broken.take(lane, value.replace(b"button", b"link"), now_ms)
            continue
        broken.take(lane, value, now_ms)
        broken.take(lane, value, now_ms)  # at least once is allowed
    assert same.summary()["same"]
    assert same.summary()["counts"] == [
        {"workspace_id": "", "type": "session", "tracker": 1, "legacy": 1},
        {"workspace_id": "w1", "type": "event", "tracker": 4, "legacy": 4},
    ]
    summary = broken.summary()
    assert not summary["same"]
    assert summary["differences"] == {"different data": 1, "missing in legacy": 1, "missing in tracker": 1}
    assert {(one["what"], one["event_id"]) for one in summary["first_differences"]} == {
        ("different data", "e3"),
        ("missing in legacy", "e2"),
        ("missing in tracker", "e1"),
    }


def test_a_record_at_the_edge_of_the_range_is_looked_for_beyond_it(tmp_path):
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", "lane": "shadow"})
    (first, second) = router_of(tmp_path / "flags.json").route([encoded(**CLICK)])
    comparison = Comparison(1_000, 2_000, lambda *_: True)
    comparison.take("tracker", first[2], 1_999)
    comparison.take("legacy", second[2], 2_001)
    assert comparison.differences() == []


def test_a_workspace_may_take_a_lane_of_its_own(tmp_path):
    rules = {"lane": "tracker", "workspaces": {"w1": {"lane": "legacy"}}}
    write(tmp_path / "flags.json", {"from": "2026-01-01T00:00:00Z", **rules})
    router = router_of(tmp_path / "flags.json")
    other = encoded(**{**CLICK, "workspace_id": "w2"})
    assert [routed[0] for routed in router.route([encoded(**CLICK), other])] == ["t.events.legacy", "t.events"]


@pytest.mark.parametrize(("ago", "is_allowed"), [(timedelta(days=1, seconds=40), True), (timedelta(hours=1), False)])
def test_a_step_may_go_once_no_session_can_be_left_that_it_has_decided(tmp_path, ago, is_allowed):
    later = (datetime.now(UTC) - ago).isoformat()
    steps = [{"from": "2020-01-01T00:00:00Z", "lane": "legacy"}, {"from": later, "lane": "tracker"}]
    write(tmp_path / "flags.json", *steps)
    router = router_of(tmp_path / "flags.json")
    assert router.flags is not None
    without = router.flags.model_copy(update={"steps": router.flags.steps[1:]})
    assert (router.why_not(router.flags, without) is None) == is_allowed
