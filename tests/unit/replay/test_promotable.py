"""Which replays may take the place of live rows: only those that know every session of their range."""

import pytest

from tracker.errors import ConfigurationError
from tracker.replay.plan import Plan, Request
from tracker.replay.promote import require_whole
from tracker.sessions.rules import Rules

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def plan(*, sessions_from_ms: int = START_MS, complete_from_ms: int = 0, **request: object) -> Plan:
    names = {"events_datasource": "events_fix", "sessions_datasource": "sessions_fix", **request}
    return Plan(
        request=Request(name="fix", target="datasource", **names),  # type: ignore[arg-type]
        source_topic="tracker.events",
        cluster_id="c",
        rules=Rules(max_length_ms=24 * HOUR_MS),
        sessions_from_ms=sessions_from_ms,
        sessions_to_ms=2**62,
        partitions=(),
        complete_from_ms=complete_from_ms,
    )


def test_a_replay_of_the_whole_log_may_be_promoted() -> None:
    require_whole(plan(sessions_from_ms=0))


def test_where_the_log_was_cut_off_only_what_began_a_longest_session_later_may_be_promoted() -> None:
    require_whole(plan(complete_from_ms=START_MS - 24 * HOUR_MS))
    with pytest.raises(ConfigurationError, match="can be promoted; replay with --from that") as refused:
        require_whole(plan(complete_from_ms=START_MS - 23 * HOUR_MS))
    assert "2026-01-01T01:00:00Z" in str(refused.value)


def test_a_replay_from_the_start_of_a_log_that_was_cut_off_is_refused_not_taken_for_all_there_ever_was() -> None:
    with pytest.raises(ConfigurationError, match="no longer has"):
        require_whole(plan(sessions_from_ms=0, complete_from_ms=START_MS))


def test_a_partition_that_lost_all_its_records_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a later log"):
        require_whole(plan(complete_from_ms=2**62))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"partitions": (0, 3)}, "--partitions"),
        ({"events_datasource": "events_v1"}, "live datasources"),
        ({"sessions_datasource": "session_v1"}, "live datasources"),
    ],
)
def test_a_part_of_the_log_and_live_itself_are_refused(request_: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        require_whole(plan(**request_))  # type: ignore[arg-type]
