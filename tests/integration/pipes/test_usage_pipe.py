"""The pipe ``usage`` against what the rows of events and sessions themselves say, over a log of several days."""

import random
from collections import Counter

import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.pipes.conftest import Ask
from tests.sessions_log import MINUTE_MS, START_MS, Log, rows
from tracker.sessions.outputs import FoldResult
from tracker.sessions.rules import Rules

SEED = 19
EVENTS = 3_000
WORKSPACES = ("usage-shop", "usage-lab", "usage-quiet")
DAY_MINUTES = 24 * 60
COUNTED = ("events", "sessions", "bytes", "rejected", "duplicates")


def folded(partition: int) -> FoldResult:
    """A partition's outputs over three days."""
    rng, log = random.Random(f"{SEED} {partition}"), Log(Rules(usage_interval_ms=MINUTE_MS), number=partition)
    minutes = sorted(rng.randrange(3 * DAY_MINUTES) for _ in range(EVENTS))
    for minute in minutes:
        workspace = rng.choices(WORKSPACES, (50, 20, 1))[0]
        key, event_id = f"{workspace}-{rng.randrange(200)}", str(rng.randrange(5))
        at = START_MS + minute * MINUTE_MS
        if rng.random() < 0.1:
            log.raw(key.encode(), b'{"type":"dance","workspace_id":"%b"}' % workspace.encode(), at)
        else:
            log.event(key, at, workspace_id=workspace, event_id=event_id)
    log.tick(START_MS + 4 * DAY_MINUTES * MINUTE_MS)
    return log.fold()


@pytest.fixture(scope="module")
def results() -> list[FoldResult]:
    return [folded(partition) for partition in range(3)]


def test_the_bill_is_what_the_numbered_rows_say_day_by_day(
    tinybird: LocalTinybird, ask: Ask, results: list[FoldResult]
):
    for result in results:
        body = b"\n".join(output.value for output in result.usage if output.value)
        for _ in range(2):  # every row twice: the bill is the same
            assert tinybird.append("usage_v1", body).json == {
                "successful_rows": len(result.usage), "quarantined_rows": 0
            }  # fmt: skip
    opened: Counter[tuple[str, str]] = Counter()
    for result in results:
        first = {(row["workspace_id"], row["session_id"]): row["created_at"][:10] for row in rows(result.sessions)}
        opened.update((workspace, day) for (workspace, _), day in first.items())
        assert result.counts.duplicates
    for workspace in WORKSPACES:
        bill = ask("usage", workspace_id=workspace)
        events = sum(row["workspace_id"] == workspace for result in results for row in rows(result.events))
        assert sum(row["events"] for row in bill) == events > 0
        assert {row["day"]: row["sessions"] for row in bill if row["sessions"]} == {
            day: count for (name, day), count in opened.items() if name == workspace
        }
    bills = [row for workspace in WORKSPACES for row in ask("usage", workspace_id=workspace)]
    for name, counted in (
        ("duplicates", sum(result.counts.duplicates for result in results)),
        ("rejected", sum(sum(result.counts.rejected.values()) for result in results)),
    ):
        assert sum(row[name] for row in bills) == counted > 0


def test_a_range_of_days_is_billed_alone(ask: Ask):
    both = ask("usage", workspace_id="shop")
    assert [tuple(row[name] for name in ("day", *COUNTED)) for row in both] == [
        ("2026-03-02", 11, 3, 3300, 1, 2), ("2026-03-03", 7, 3, 2100, 0, 0)
    ]  # fmt: skip
    second = ask("usage", workspace_id="shop", date_from="2026-03-03 00:00:00", date_to="2026-03-04 00:00:00")
    assert second == both[1:]
    assert ask("usage", workspace_id="shop", date_to="2026-03-03 00:00:00") == both[:1]
