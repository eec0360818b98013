"""What a revocation and a flush wait for, and for how long, in virtual time."""

import asyncio
from collections import deque

from tests.unit.sink.sink_records import chunk, lease, output, rows
from tests.unit.sink.virtual_pipeline import DATASOURCE, Running, pipeline_test
from tests.virtual_time import until
from topics.headers import SourcePosition
from tracker.sink import metrics
from tracker.sink.health import DatasourceHealth
from tracker.tinybird.answers import IngestResult, RowsRefused, TinybirdUnavailable

GRACE_SECONDS = 30.0


def silent(running: Running):
    """Tinybird takes a request and never answers it."""
    running.api.faults = deque([_never])


async def _never(_: list[bytes]) -> IngestResult:
    return await asyncio.Future()


@pipeline_test()
async def test_a_revocation_waits_for_rows_under_way_for_as_long_as_it_may(running):
    silent(running)
    await running.pipeline.take(chunk(lease(), rows(5)))
    began = running.now
    await running.pipeline.hand_over(GRACE_SECONDS)
    assert running.now - began == GRACE_SECONDS
    assert running.commits == []


@pipeline_test()
async def test_while_tinybird_fails_a_revocation_waits_for_nothing(running):
    running.api.faults = deque([TinybirdUnavailable("no answer")] * 1_000)
    await running.pipeline.take(chunk(lease(), [*rows(5), output(5, SourcePosition(5, 0), None, is_flush=True)]))
    await until(lambda: running.pipeline.health().circuit == "open")
    began = running.now
    await running.pipeline.hand_over(GRACE_SECONDS)
    assert running.now == began
    assert running.commits == []


@pipeline_test()
async def test_rows_that_are_written_between_the_end_of_their_lease_and_the_revocation_are_committed(running):
    of = lease()
    await running.pipeline.take(chunk(of, rows(5)))
    of.alive = False
    await running.pipeline.flush()
    assert running.api.written == [record.value for record in rows(5)]
    assert running.commits == []
    await running.pipeline.hand_over(GRACE_SECONDS)
    assert [offset for offset, _ in running.commits] == [5]


@pipeline_test()
async def test_what_is_let_go_of_is_sent_no_more_and_what_comes_next_fills_its_own_window(running):
    silent(running)
    gone = lease()
    await running.pipeline.take(chunk(gone, rows(100)))
    await until(lambda: running.api.under_way == 1)
    await running.pipeline.take(chunk(gone, rows(5, first_offset=100)))
    await running.pipeline.hand_over(1.0)
    assert (running.api.under_way, len(running.api.requests)) == (0, 2)
    back = lease()
    await running.pipeline.take(chunk(back, rows(5)))
    await asyncio.sleep(1_000)
    assert len(running.api.requests) == 2  # no flush is left over
    await running.pipeline.flush()
    assert running.api.requests[2] == [record.value for record in rows(5)]
    assert [offset for offset, _ in running.commits] == [5]


@pipeline_test()
async def test_rows_that_wait_for_their_window_are_let_go_of_too(running):
    running.api.faults = deque([TinybirdUnavailable("no answer")] * 1_000)
    gone = lease()
    await running.pipeline.take(chunk(gone, [*rows(5), output(5, SourcePosition(5, 0), None, is_flush=True)]))
    await until(lambda: running.pipeline.health().circuit == "open")
    await running.pipeline.take(chunk(gone, rows(3, first_offset=6)))
    await running.pipeline.hand_over(GRACE_SECONDS)
    running.api.faults.clear()
    await running.pipeline.take(chunk(lease(1), rows(2, partition=1)))
    await running.pipeline.flush()
    assert running.api.written == [record.value for record in rows(2, partition=1)]


@pipeline_test()
async def test_rows_that_found_no_place_are_let_go_of_too_and_are_not_sent_with_later_ones(running):
    running.api.faults = deque([_never, _never])
    gone, back = lease(), lease()
    for first in (0, 100):
        await running.pipeline.take(chunk(gone, rows(100, first_offset=first)))
    await until(lambda: running.api.under_way == 2)
    await running.pipeline.take(chunk(gone, rows(3, first_offset=200)))
    await running.pipeline.hand_over(GRACE_SECONDS)
    assert running.pipeline.health().held_bytes == 0
    await running.pipeline.take(chunk(back, rows(2)))
    await running.pipeline.flush()
    assert running.api.written == [record.value for record in rows(2)]
    assert [offset for offset, _ in running.commits] == [2]


@pipeline_test()
async def test_a_flush_returns_once_its_rows_are_committed_and_not_only_written(running):
    running.commit_seconds = 5
    await running.pipeline.take(chunk(lease(), rows(5)))
    began = running.now
    await running.pipeline.flush()
    assert running.now - began >= 5
    assert [offset for offset, _ in running.commits] == [5]


@pipeline_test()
async def test_a_flush_ships_what_has_come_in_the_meantime_too(running):
    of = lease()
    await running.pipeline.take(chunk(of, rows(5)))
    flushing = asyncio.ensure_future(running.pipeline.flush())
    await asyncio.sleep(0)
    await running.pipeline.take(chunk(of, rows(5, first_offset=5)))
    await flushing
    assert [offset for offset, _ in running.commits][-1] == 10


@pipeline_test()
async def test_a_pipeline_says_how_it_does(running):
    assert running.pipeline.health() == DatasourceHealth(DATASOURCE, "closed", 0)
    silent(running)
    await running.pipeline.take(chunk(lease(), rows(5)))
    assert running.pipeline.health().held_bytes > 5_000


@pipeline_test()
async def test_rows_that_are_turned_away_are_counted_by_their_reason(running):
    counters = [metrics.REJECTED.labels(DATASOURCE, reason)._value for reason in ("refused", "no_position")]
    before = [counter.get() for counter in counters]
    bad = rows(5)[3].value
    running.api.is_refused = lambda sent: RowsRefused("no") if bad in sent else None
    await running.pipeline.take(chunk(lease(), [*rows(5), output(5, None, b"{}")]))
    await running.pipeline.flush()
    assert running.letters == [(5, "no_position"), (3, "refused")]
    assert [counter.get() for counter in counters] == [before[0] + 1, before[1] + 1]
