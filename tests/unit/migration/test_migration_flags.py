"""A session is never torn between lanes, whatever steps a migration takes; shares are stable and exact."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import ConfigurationError
from tracker.migration.flags import BOTH, LEGACY, TRACKER, Flags, read_flags, write_flags

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_764_000_000_000


def flags(*steps: dict) -> Flags:
    return Flags.model_validate({"steps": list(steps)})


def at(ms: int, lane: str, **more) -> dict:
    return {"from": datetime.fromtimestamp(ms / 1_000, UTC), "lane": lane, **more}


def uuid7(born_ms: int, tail: int = 0) -> str:
    head = f"{born_ms:012x}"
    return f"{head[:8]}-{head[8:]}-7000-8000-{tail:012x}"


def lanes(of: Flags, session_id: str, now_ms: int, workspace_id: str = "") -> frozenset[str]:
    return of.lanes(session_id, workspace_id, now_ms=now_ms, overlap_ms=DAY_MS)


RULES = st.fixed_dictionaries(
    {"lane": st.sampled_from(["tracker", "legacy", "shadow"])},
    optional={"tracker_percent": st.floats(0, 50), "shadow_percent": st.floats(0, 50)},
)


@given(
    rules=st.lists(RULES, min_size=1, max_size=6),
    gaps=st.lists(st.integers(1, 3 * DAY_MS), min_size=6, max_size=6),
    began_ms=st.integers(0, 10 * DAY_MS),
    records=st.lists(st.integers(0, DAY_MS), min_size=1, max_size=10),
    key=st.sampled_from(["born with it", "born long before", "unknown"]),
    tail=st.integers(0, 1_000),
)
def test_each_session_is_whole_in_the_lanes_of_its_beginning(*, rules, gaps, began_ms, records, key, tail):
    starts = [START_MS + sum(gaps[:nth]) for nth in range(len(rules))]
    steps = flags(*(at(ms, **rule) for ms, rule in zip(starts, rules, strict=True)))
    began_ms += START_MS - DAY_MS
    session_id = {
        "born with it": uuid7(began_ms, tail),
        "born long before": uuid7(began_ms - 3 * DAY_MS, tail),
        "unknown": f"visitor-{tail}",
    }[key]
    at_birth = flags(
        max(
            (step for step in steps.steps if step.starts_ms <= began_ms),
            key=lambda step: step.starts_ms,
            default=steps.steps[0],
        ).model_dump(by_alias=True)
    )
    wanted = lanes(at_birth, session_id, began_ms)
    for offset_ms in records:
        got = lanes(steps, session_id, began_ms + offset_ms)
        assert wanted <= got
        if key == "born with it":
            assert got == wanted


def test_an_id_without_a_birth_takes_one_lane_again_when_no_older_session_can_be_left():
    steps = flags(at(START_MS, "legacy"), at(START_MS + 10 * DAY_MS, "tracker"))
    switch = START_MS + 10 * DAY_MS
    assert lanes(steps, "visitor", switch - 1) == LEGACY
    assert lanes(steps, "visitor", switch) == BOTH
    assert lanes(steps, "visitor", switch + DAY_MS - 1) == BOTH
    assert lanes(steps, "visitor", switch + DAY_MS) == TRACKER


def test_a_birth_in_the_future_is_not_believed():
    steps = flags(at(START_MS, "legacy"), at(START_MS + DAY_MS, "tracker"))
    assert lanes(steps, uuid7(START_MS + 2 * DAY_MS), START_MS) == LEGACY


def test_shares_are_exact_enough_and_stable():
    steps = flags(at(START_MS, "legacy", tracker_percent=10, shadow_percent=5))
    found = [lanes(steps, f"visitor-{number}", START_MS) for number in range(20_000)]
    assert 0.09 < found.count(TRACKER) / len(found) < 0.11
    assert 0.04 < found.count(BOTH) / len(found) < 0.06
    grown = flags(at(START_MS, "legacy", tracker_percent=20))
    assert all(
        lanes(grown, f"visitor-{number}", START_MS) == TRACKER for number, lane in enumerate(found) if lane == TRACKER
    )


def test_a_workspace_has_its_own_rule():
    steps = flags(at(START_MS, "legacy", workspaces={"w1": {"lane": "tracker"}}))
    assert lanes(steps, "visitor", START_MS, "w1") == TRACKER
    assert lanes(steps, "visitor", START_MS, "w2") == LEGACY
    assert lanes(steps, "visitor", START_MS) == LEGACY


NOW = START_MS + 10 * DAY_MS
OLD = (at(START_MS, "legacy"), at(START_MS + 5 * DAY_MS, "legacy", tracker_percent=10))


@pytest.mark.parametrize(
    ("new", "refused"),
    [
        ([*OLD], None),
        ([*OLD, at(NOW + 1_000, "tracker")], None),
        ([OLD[1], at(NOW + 1_000, "tracker")], None),
        ([OLD[0], at(START_MS + 5 * DAY_MS, "tracker")], "in effect"),
        ([OLD[0]], "in effect"),
        ([*OLD, at(NOW - 1_000, "tracker")], "in the past"),
    ],
    ids=["same", "a step to come", "without what is over", "a step changed", "a step taken out", "a step in the past"],
)
def test_what_sessions_were_decided_by_cannot_be_rewritten(new, refused):
    problem = flags(*new).rewrites(flags(*OLD), NOW, DAY_MS)
    assert (problem is None) if refused is None else (refused in problem)


def test_what_was_never_in_effect_can_be_taken_back():
    old = flags(*OLD, at(NOW + HOUR_MS, "tracker"))
    assert flags(*OLD).rewrites(old, NOW, DAY_MS) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"steps": []}',
        '{"steps": [{"from": "2026-11-25T00:00:00", "lane": "tracker"}]}',
        '{"steps": [{"from": "2026-11-25T00:00:00Z", "lane": "both"}]}',
        '{"steps": [{"from": "2026-11-25T00:00:00Z", "lane": "legacy", "tracker_percent": 60, "shadow_percent": 60}]}',
        '{"steps": [{"from": "2026-11-25T00:00:00Z", "lane": "legacy", "percent": 60}]}',
        json.dumps({"steps": [{"from": f"2026-11-2{day}T00:00:00Z", "lane": "legacy"} for day in (5, 4)]}),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(tmp_path, text):
    path = tmp_path / "flags.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"flags\.json"):
        read_flags(path)


def test_flags_survive_being_written_and_toml_says_the_same(tmp_path):
    steps = flags(at(START_MS, "legacy", tracker_percent=2.5, workspaces={"w1": {"lane": "shadow"}}))
    write_flags(tmp_path / "flags.json", steps)
    assert read_flags(tmp_path / "flags.json") == steps
    (tmp_path / "flags.toml").write_text(
        f'[[steps]]\nfrom = {steps.steps[0].starts.isoformat()}\nlane = "legacy"\ntracker_percent = 2.5\n'
        '[steps.workspaces.w1]\nlane = "shadow"\n'
    )
    assert read_flags(tmp_path / "flags.toml") == steps
