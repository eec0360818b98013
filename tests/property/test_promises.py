"""The promises of identity and of once, for every log that Hypothesis writes, without a look at the fold's own code."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.rules import Rules

WINDOW_MS = 60 * MINUTE_MS
RULES = Rules(
    timeout_ms=MINUTE_MS,
    max_length_ms=3 * MINUTE_MS,
    max_events=7,
    duplicate_window_ms=WINDOW_MS,
    closed_stub_retention_ms=10 * WINDOW_MS,
    page_events=2,
)
GAPS = st.sampled_from([0, 1, 1_000, MINUTE_MS, MINUTE_MS + 1, 4 * MINUTE_MS])
KINDS = st.sampled_from(["event", "event", "event", "repeat", "session", "expire", "passive"])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 2), GAPS), max_size=60))
def test_an_event_sent_any_number_of_times_within_the_window_is_one_row_and_two_events_are_two(sent):
    log, at, first = Log(RULES), START_MS, {}
    for key, event_id, value, gap in sent:
        at = min(at + gap, START_MS + WINDOW_MS)
        log.event(key, at, event_id=str(event_id), event_value=str(value))
        first.setdefault((key, event_id, value), at)
    found = [(row["event_id"], row["event_value"]) for row in rows(log.fold().events)]
    assert sorted(found) == sorted((str(event_id), str(value)) for _, event_id, value in first)


def do(log: Log, owner: str, kind: str, nth: int, at: int) -> None:
    named = {"workspace_id": owner}
    match kind:
        case "event":
            log.event("k", at, event_id=f"e{nth}", envelope=named)
        case "repeat":
            log.event("k", at, event_id=f"e{nth // 2}", **named)
        case "session":
            log.session("k", at, user_id=f"user-{nth}", timeout_seconds=60 + nth, **named)
        case "expire":
            log.expire("k", at, envelope=named)
        case "passive":
            log.event("k", at, event_id=f"p{nth}", envelope={**named, "passive": True})


def told(log: Log, owner: str) -> list[dict[str, Any]]:
    """A workspace's rows, but for their places in the log."""
    result = log.fold()
    found = [*rows(result.events), *rows(result.sessions)]
    return [{name: row[name] for name in row if name != "version"} for row in found if row["workspace_id"] == owner]


@given(st.lists(st.tuples(st.sampled_from(["w1", "w2", "w3"]), KINDS, GAPS), max_size=40))
def test_any_interleaving_of_workspaces_under_one_key_gives_each_what_it_gives_alone(steps):
    shared, at, alone = Log(RULES), START_MS, {owner: Log(RULES) for owner in ("w1", "w2", "w3")}
    for nth, (owner, kind, gap) in enumerate(steps):
        at += gap
        do(shared, owner, kind, nth, at)
        for other, log in alone.items():
            if other == owner:
                do(log, owner, kind, nth, at)
            else:
                log.tick(at)
    for owner, log in alone.items():
        copy = Log(RULES)
        copy.records = list(shared.records)
        assert told(copy, owner) == told(log, owner)


@given(st.lists(st.tuples(st.sampled_from(["w1", "w2", ""]), KINDS, GAPS), max_size=40))
def test_numbers_are_one_to_n_in_each_session_of_each_workspace_and_every_record_is_accounted_for(steps):
    log, at = Log(RULES), START_MS
    for nth, (owner, kind, gap) in enumerate(steps):
        at += gap
        do(log, owner, kind, nth, at)
    result = log.fold()
    numbers: dict[tuple[str, str], list[int]] = {}
    for row in rows(result.events):
        numbers.setdefault((row["workspace_id"], row["session_id"]), []).append(row["session_event_sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert result.counts.accounted == result.counts.records == len(log.records)
    latest = {(row["workspace_id"], row["session_id"]): row for row in sorted(rows(result.sessions), key=version)}
    assert all(
        latest[session]["event_count"] == len(found) for session, found in numbers.items() if is_closed(latest, session)
    )
    assert len({(row["workspace_id"], row["session_id"], row["version"]) for row in rows(result.sessions)}) == len(
        rows(result.sessions)
    )


def version(row: dict[str, Any]) -> int:
    return row["version"]


def is_closed(latest: dict[tuple[str, str], dict[str, Any]], session: tuple[str, str]) -> bool:
    return latest[session]["is_expired"]
