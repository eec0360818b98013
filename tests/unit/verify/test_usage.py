"""``verify`` holds the rows of usage against their log: by workspace, partition and hour, where it can tell."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from tests.sessions_log import MINUTE_MS, START_MS, Log
from tracker.kafka.log_reader import LogRange
from tracker.sessions.rules import Rules
from tracker.verify.hashes import Scope
from tracker.verify.log import LoggedRow
from tracker.verify.report import Check
from tracker.verify.usage import KIND, Bucket, LoggedUsage, Total, judge_usage, sum_usage

PARTITION = 3
HOUR_MS = 60 * MINUTE_MS
FIRST_HOUR = START_MS // HOUR_MS
EVERYTHING = Scope()
WHOLE = {PARTITION: LogRange(0, 100)}


def usage_rows() -> list[dict[str, Any]]:
    """Two workspaces in two hours: one row each, of two events."""
    log = Log(Rules(usage_interval_ms=MINUTE_MS), number=PARTITION)
    for hour in range(2):
        for workspace in ("lab", "shop"):
            for _ in range(2):  # without an event_id, each is another one
                log.event(f"{workspace}-{hour}", START_MS + hour * HOUR_MS, workspace_id=workspace)
    log.tick(START_MS + 3 * HOUR_MS)
    return [orjson.loads(output.value or b"") for output in log.fold().usage]


ROWS = usage_rows()


async def logged(rows: Sequence[Mapping[str, Any]], written: int = 100) -> AsyncIterator[LoggedRow]:
    for offset, row in enumerate(rows):
        yield LoggedRow("t.usage", PARTITION, offset, offset < written, row["version"], row)


async def summed(
    rows: Sequence[Mapping[str, Any]] = ROWS,
    ranges: Mapping[int, LogRange] = WHOLE,
    scope: Scope = EVERYTHING,
    letters: Mapping[int, set[int]] | None = None,
    written: int = 100,
) -> LoggedUsage:
    return await sum_usage(logged(rows, written), ranges, scope, letters or {})


def bucket(workspace: str, hour: int) -> Bucket:
    return Bucket(workspace, PARTITION, FIRST_HOUR + hour)


def faults(usage: LoggedUsage, stored: Mapping[Bucket, Total]) -> list[str]:
    check = Check("usage_log", "")
    judge_usage(usage, stored, check)
    return check.faults


async def test_rows_are_added_up_by_workspace_partition_and_hour() -> None:
    usage = await summed()
    assert {name: (total.rows, total.events) for name, total in usage.totals.items()} == {
        bucket(workspace, hour): (1, 2) for workspace in ("lab", "shop") for hour in (0, 1)
    }
    assert usage.totals[bucket("shop", 1)].checksum == KIND.hash(ROWS[3])
    assert usage.unsettled == set()
    check = Check("usage_log", "")
    judge_usage(usage, dict(usage.totals), check)
    assert (check.looked_at, check.faults) == (4, [])


async def test_two_rows_of_an_hour_are_one_total() -> None:
    twice = [ROWS[0], ROWS[0] | {"version": ROWS[0]["version"] + 1}]
    (total,) = (await summed(twice)).totals.values()
    assert (total.rows, total.events) == (2, 4)
    assert total.checksum == (KIND.hash(twice[0]) + KIND.hash(twice[1])) % 2**64


async def test_what_tinybird_lacks_or_has_too_much_of_is_named() -> None:
    usage = await summed()
    stored = dict(usage.totals)
    del stored[bucket("lab", 0)]
    stored[bucket("shop", 1)] = Total(2, 4, 1)
    stored[bucket("stranger", 1)] = Total(1, 1_000, 1)
    assert faults(usage, stored) == [
        "workspace 'lab', partition 3, hour 2026-01-01T00Z: 0 rows with 0 events instead of 1 rows with 2 events",
        "workspace 'shop', partition 3, hour 2026-01-01T01Z: 2 rows with 4 events instead of 1 rows with 2 events",
        "workspace 'stranger', partition 3, hour 2026-01-01T01Z: 1 rows with 1,000 events "
        "instead of 0 rows with 0 events",
    ]


async def test_a_row_that_was_changed_shows_though_its_events_are_the_same() -> None:
    usage = await summed()
    changed = usage.totals | {bucket("lab", 0): usage.totals[bucket("lab", 0)]._replace(checksum=1)}
    assert faults(usage, changed) == ["workspace 'lab', partition 3, hour 2026-01-01T00Z: other rows than the log"]


async def test_every_column_counts() -> None:
    (row,) = ROWS[:1]
    numbers = ("source_partition", "events", "sessions", "bytes", "rejected", "duplicates", "version")
    others = [row | {name: row[name] + 1} for name in numbers]
    others += [row | {"workspace_id": "x"}, row | {"source_topic": "x"}, row | {"minute": "2026-01-01T00:01:00Z"}]
    assert len({KIND.hash(one) for one in [row, *others]}) == 11


async def test_rows_on_their_way_and_rows_in_the_letters_are_no_faults() -> None:
    assert faults(await summed(written=3), dict((await summed(ROWS[:3])).totals)) == []
    in_letters = await summed(letters={PARTITION: {1}})
    assert in_letters.unsettled == {bucket("shop", 0)}
    assert faults(in_letters, dict(in_letters.totals)) == []
    elsewhere = await summed(letters={PARTITION + 1: {1}})
    assert elsewhere.unsettled == set()


async def test_hours_that_retention_may_have_cut_are_not_judged() -> None:
    cut = await summed(ROWS[1:], {PARTITION: LogRange(1, 100)})
    assert cut.whole_from == {PARTITION: FIRST_HOUR + 1}
    assert faults(cut, {}) == [
        f"workspace '{workspace}', partition 3, hour 2026-01-01T01Z: "
        "0 rows with 0 events instead of 1 rows with 2 events"
        for workspace in ("lab", "shop")
    ]
    assert faults(await summed([], {PARTITION: LogRange(9, 9)}), {bucket("lab", 9): Total(1, 1, 1)}) == []
    assert faults(await summed([]), {bucket("lab", 0): Total(1, 1, 1)}) != []


async def test_only_the_scope_is_looked_at() -> None:
    usage = await summed(scope=Scope("shop", START_MS + HOUR_MS, None))
    assert set(usage.totals) == {bucket("shop", 1)}
