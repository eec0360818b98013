"""When a pipeline ships what it holds: a flush is kept until it has shipped something, and none is left over."""

import asyncio
from collections import deque

import pytest

from tests.unit.sink.sink_records import chunk, lease, output, rows
from tests.unit.sink.virtual_pipeline import Running, pipeline_test
from tests.virtual_time import until
from topics.headers import SourcePosition
from tracker.sink.batches import Limits
from tracker.tinybird.answers import IngestResult

WINDOW_SECONDS = 100
LIMITS = Limits(max_rows=5, max_bytes=8_000, window_ms=WINDOW_SECONDS * 1_000)


def marker(offset: int):
    return output(offset, SourcePosition(offset, 0), b'{"row":"last"}', is_flush=True)


@pipeline_test(LIMITS)
async def test_what_nothing_asks_for_waits_for_its_window(running):
    await running.pipeline.take(chunk(lease(), rows(2)))
    await asyncio.sleep(WINDOW_SECONDS - 1)
    assert running.api.requests == []
    await until(lambda: bool(running.commits))
    assert running.commits == [(2, WINDOW_SECONDS)]


@pipeline_test(LIMITS)
async def test_a_marker_holds_although_a_chunk_without_one_comes_before_anything_is_shipped(running):
    of = lease()
    await running.pipeline.take(chunk(of, [marker(0)]))
    await running.pipeline.take(chunk(of, rows(2, first_offset=1)))
    await until(lambda: bool(running.commits))
    assert running.commits == [(3, 0)]


@pipeline_test(LIMITS)
async def test_a_marker_whose_rows_went_in_a_full_batch_ships_nothing_that_comes_later(running):
    of = lease()
    await running.pipeline.take(chunk(of, [*rows(4), marker(4)]))
    await until(lambda: bool(running.commits))
    await running.pipeline.take(chunk(of, rows(2, first_offset=5)))
    await asyncio.sleep(WINDOW_SECONDS / 4)
    assert [len(sent) for sent in running.api.requests] == [5]


def hold_two_back(running: Running) -> asyncio.Event:
    """The next two requests are answered once the event is set."""
    release = asyncio.Event()

    async def slow(sent: list[bytes]) -> IngestResult:
        await release.wait()
        return IngestResult(len(sent), 0)

    running.api.faults = deque([slow, slow])
    return release


@pipeline_test(LIMITS)
async def test_a_marker_that_took_the_last_place_ships_nothing_that_comes_later(running):
    release = hold_two_back(running)
    of = lease()
    for number in (0, 1):
        await running.pipeline.take(chunk(of, [marker(number)]))
        await until(lambda under_way=number + 1: running.api.under_way == under_way)
    await running.pipeline.take(chunk(of, rows(2, first_offset=2)))
    release.set()
    await until(lambda: [offset for offset, _ in running.commits][-1:] == [2])
    await asyncio.sleep(WINDOW_SECONDS / 4)
    assert len(running.api.requests) == 2


@pipeline_test(LIMITS)
async def test_a_marker_that_comes_while_as_many_batches_as_may_be_are_under_way_is_kept(running):
    release = hold_two_back(running)
    of = lease()
    await running.pipeline.take(chunk(of, rows(10)))
    await until(lambda: running.api.under_way == 2)
    await running.pipeline.take(chunk(of, [marker(10)]))
    release.set()
    await until(lambda: [offset for offset, _ in running.commits][-1:] == [11])
    assert running.now < WINDOW_SECONDS


@pipeline_test(LIMITS, ends=True)
async def test_a_pipeline_that_ends_takes_its_requests_with_it_and_ships_nothing_more(running):
    async def never(_: list[bytes]) -> IngestResult:
        return await asyncio.Future()

    running.api.faults = deque([never])
    of = lease()
    await running.pipeline.take(chunk(of, rows(5)))
    await until(lambda: running.api.under_way == 1)
    running.task.cancel()
    await asyncio.wait([running.task])
    await running.pipeline.take(chunk(of, rows(5, first_offset=5)))
    await asyncio.sleep(1)
    assert (running.api.under_way, len(running.api.requests)) == (0, 1)


@pipeline_test(LIMITS, ends=True)
async def test_of_two_bugs_at_a_time_the_first_ends_the_pipeline(running):
    running.api.faults = deque([ZeroDivisionError("first"), ZeroDivisionError("second")])
    await running.pipeline.take(chunk(lease(), rows(10)))
    with pytest.raises(ZeroDivisionError, match="first"):
        await running.task
    assert not running.api.faults
    assert running.commits == []


@pipeline_test(LIMITS)
async def test_rows_whose_lease_ends_while_a_neighbour_is_turned_away_are_left_to_its_next_owner(running):
    gone = lease()
    running.reject_seconds = 1.0
    taking = asyncio.ensure_future(running.pipeline.take(chunk(gone, [*rows(2), output(2, None, b"{}")])))
    await asyncio.sleep(0.5)
    gone.alive = False
    await taking
    assert running.letters == [(2, "no_position")]
    assert running.pipeline.health().held_bytes == 0
    await running.pipeline.flush()
    assert running.api.requests == []
