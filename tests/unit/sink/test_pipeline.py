"""A pipeline in front of an ill Tinybird: no offset is committed before its rows are written or turned away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import REGISTRY

from tests.fixtures.tinybird_double import Request, TinybirdDouble, limit_rows, refuse, status
from tests.patience import PATIENCE_SECONDS
from tests.unit.sink.sink_records import chunk, lease, output, rows
from topics.headers import SourcePosition
from tracker.sink.batches import Covered, Limits
from tracker.sink.pipeline import Bounds, Pipeline
from tracker.tinybird_clients import tinybird_client

LIMITS = Limits(max_rows=100, max_bytes=1_000_000, window_ms=10)
ENDLESS_WINDOW = Limits(max_rows=100, max_bytes=1_000_000, window_ms=10_000_000)
#: One batch at a time, so that what comes in comes in order.
ONE_BY_ONE = Bounds(max_batches_in_flight=1, max_held_bytes=100_000_000)
SEVERAL = Bounds(max_batches_in_flight=4, max_held_bytes=100_000_000)
#: Room for about three hundred rows.
FEW_HELD = Bounds(max_batches_in_flight=1, max_held_bytes=300_000)


@dataclass
class Kept:
    """What the pipeline told the outside, with the rows that were written at that moment."""

    commits: list[tuple[TopicPartition, int, str]] = field(default_factory=list)
    rows_at_commit: list[int] = field(default_factory=list)
    letters: list[tuple[int, str, str]] = field(default_factory=list)
    committed: asyncio.Event = field(default_factory=asyncio.Event)


class Stall:
    """An answer that does not come before the test lets it."""

    def __init__(self, double: TinybirdDouble) -> None:
        self._double = double
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Request) -> web.StreamResponse:
        self.has_begun.set()
        await self.may_end.wait()
        return await self._double.default(request)


@asynccontextmanager
async def running(
    double: TinybirdDouble, kept: Kept, limits: Limits = LIMITS, bounds: Bounds = ONE_BY_ONE
) -> AsyncIterator[Pipeline]:
    async def commit(covers: Sequence[Covered]) -> None:
        kept.rows_at_commit.append(len(double.written))
        kept.commits += [(covered.lease.tp, covered.next_offset, str(covered.last_seen)) for covered in covers]
        kept.committed.set()

    async def reject(record: ConsumerRecord, reason: str, detail: str) -> None:
        kept.letters.append((record.offset, reason, detail))

    async with asyncio.timeout(PATIENCE_SECONDS), tinybird_client(double.settings()) as client:
        pipeline = Pipeline("events_v1", limits, bounds, client, reject=reject, commit=commit)
        task = asyncio.create_task(pipeline.run())
        try:
            yield pipeline
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"tracker_sink_{name}", {"datasource": "events_v1", **labels}) or 0.0


def last_commits(kept: Kept) -> dict[int, tuple[int, str]]:
    return {tp.partition: (offset, metadata) for tp, offset, metadata in kept.commits}


async def test_every_row_is_written_and_then_its_offset_committed(double: TinybirdDouble):
    kept, leases = Kept(), [lease(partition) for partition in range(3)]
    sent = [rows(250, partition=of.partition) for of in leases]
    async with running(double, kept) as pipeline:
        for of, records in zip(leases, sent, strict=True):
            await pipeline.take(chunk(of, records))
        await pipeline.flush()
    assert double.rows("events_v1") == [record.value for records in sent for record in records]
    assert last_commits(kept) == dict.fromkeys(range(3), (250, "249:0"))
    for partition in range(3):
        offsets = [offset for tp, offset, _ in kept.commits if tp.partition == partition]
        assert offsets == sorted(offsets)


@pytest.mark.usefixtures("without_waits")
async def test_nothing_is_committed_while_tinybird_is_away(double: TinybirdDouble):
    kept = Kept()
    double.answers += [status(503)] * 20
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), rows(50)))
        await pipeline.flush()
    assert len(double.requests) == 21
    assert kept.rows_at_commit == [50]
    assert last_commits(kept) == {0: (50, "49:0")}


async def test_what_was_sent_again_is_dropped_and_still_covered(double: TinybirdDouble):
    kept, of = Kept(), lease(next_offset=10, metadata="4:0")
    again = [output(10 + n, SourcePosition(n, 0), b'{"n":%d}' % n) for n in range(7)]
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(of, again[:5]))
        await pipeline.take(chunk(of, again[5:]))
        await pipeline.flush()
    assert double.rows("events_v1") == [b'{"n":5}', b'{"n":6}']
    assert last_commits(kept) == {0: (17, "6:0")}


async def test_a_flush_marker_ships_before_the_window_ends(double: TinybirdDouble):
    kept, of = Kept(), lease()
    records = [*rows(3), output(3, SourcePosition(3, 0), None, is_flush=True)]
    async with running(double, kept, ENDLESS_WINDOW) as pipeline:
        await pipeline.take(chunk(of, records))
        await kept.committed.wait()
    assert double.rows("events_v1") == [record.value for record in records[:3]]
    assert last_commits(kept) == {0: (4, "3:0")}


async def test_rows_of_a_dead_lease_are_not_committed(double: TinybirdDouble):
    kept, dead, live = Kept(), lease(0), lease(1)
    async with running(double, kept, ENDLESS_WINDOW) as pipeline:
        await pipeline.take(chunk(dead, rows(5)))
        await pipeline.take(chunk(live, rows(5, partition=1)))
        dead.alive = False
        await pipeline.flush()
    assert len(double.rows("events_v1")) == 10
    assert last_commits(kept) == {1: (5, "4:0")}


@pytest.mark.parametrize("code", [400, 422])
async def test_bad_rows_are_found_and_turned_away_and_all_others_go_in(double: TinybirdDouble, code: int):
    kept, records = Kept(), rows(64)
    bad = {records[n].value for n in (0, 31, 32, 63)}
    double.answers.append(refuse(bad.__contains__, code, double))
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), records))
        await pipeline.flush()
    assert sorted(double.rows("events_v1")) == sorted(record.value for record in records if record.value not in bad)
    assert [(offset, reason) for offset, reason, _ in kept.letters] == [(n, "refused") for n in (0, 31, 32, 63)]
    assert all("line 1 is bad" in detail for _, _, detail in kept.letters)
    assert last_commits(kept) == {0: (64, "63:0")}


async def test_a_request_that_is_too_large_goes_in_by_parts(double: TinybirdDouble):
    kept, records = Kept(), rows(100)
    double.answers.append(limit_rows(13, double))
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), records))
        await pipeline.flush()
    assert double.rows("events_v1") == [record.value for record in records]
    assert kept.letters == []
    assert last_commits(kept) == {0: (100, "99:0")}


async def test_a_record_without_a_position_is_turned_away_before_its_offset_is_committed(double: TinybirdDouble):
    kept = Kept()
    records = [*rows(2), output(2, None, b'{"n":2}'), *rows(2, first_offset=3)]
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), records))
        await pipeline.flush()
    assert [(offset, reason) for offset, reason, _ in kept.letters] == [(2, "no_position")]
    assert len(double.rows("events_v1")) == 4
    assert last_commits(kept) == {0: (5, "4:0")}


async def test_a_row_that_comes_back_from_the_dead_letters_is_written_though_its_position_has_been_seen(
    double: TinybirdDouble,
):
    kept = Kept()
    back = output(3, SourcePosition(1, 0), b'{"row":"back"}', is_retry=True)
    repeated = output(4, SourcePosition(2, 0), b'{"row":"repeated"}')
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), [*rows(3), back, repeated]))
        await pipeline.flush()
    assert double.rows("events_v1") == [*(record.value for record in rows(3)), b'{"row":"back"}']
    assert last_commits(kept) == {0: (5, "2:0")}


@pytest.mark.usefixtures("without_waits")
async def test_chunks_wait_while_the_buffer_is_full(double: TinybirdDouble):
    kept, of = Kept(), lease()
    stall = Stall(double)
    double.answers.append(stall)
    taken = 0
    async with running(double, kept, bounds=FEW_HELD) as pipeline:

        async def feed() -> None:
            nonlocal taken
            for first in range(0, 2_000, 100):
                await pipeline.take(chunk(of, rows(100, first_offset=first)))
                taken += 1

        feeding = asyncio.create_task(feed())
        await stall.has_begun.wait()
        for _ in range(100):  # enough turns of the loop for a feed that nothing holds back
            await asyncio.sleep(0)
        assert taken < 5
        assert not kept.commits
        stall.may_end.set()
        await feeding
        await pipeline.flush()
    assert len(double.rows("events_v1")) == 2_000
    assert last_commits(kept) == {0: (2_000, "1999:0")}


async def test_a_slow_batch_holds_up_its_own_partitions_commit_and_no_other(double: TinybirdDouble):
    kept, slow, quick = Kept(), lease(0), lease(1)
    stall = Stall(double)
    double.answers.append(stall)
    async with running(double, kept, bounds=SEVERAL) as pipeline:
        await pipeline.take(chunk(slow, rows(100)))
        await stall.has_begun.wait()
        await pipeline.take(chunk(slow, rows(100, first_offset=100)))
        await pipeline.take(chunk(quick, rows(100, partition=1)))
        await kept.committed.wait()
        assert len(double.rows("events_v1")) >= 100
        assert last_commits(kept) == {1: (100, "99:0")}
        stall.may_end.set()
        await pipeline.flush()
    assert last_commits(kept) == {0: (200, "199:0"), 1: (100, "99:0")}
    assert len(double.rows("events_v1")) == 300


async def test_the_search_for_a_bad_row_holds_up_no_other_batch(double: TinybirdDouble):
    kept, poisoned, other = Kept(), lease(0), lease(1)
    bad = rows(100)[57].value
    is_found = asyncio.Event()

    async def refuse_slowly(request: Request) -> web.StreamResponse:
        if bad not in request.lines:
            return await double.default(request)
        if len(request.lines) == 1:
            await is_found.wait()
        return web.json_response({"error": "bad"}, status=400)

    double.answers += [refuse_slowly] * 100
    async with running(double, kept, bounds=SEVERAL) as pipeline:
        await pipeline.take(chunk(poisoned, rows(100)))
        await pipeline.take(chunk(other, rows(100, partition=1)))
        await kept.committed.wait()
        assert last_commits(kept) == {1: (100, "99:0")}
        is_found.set()
        await pipeline.flush()
    assert [offset for offset, _, _ in kept.letters] == [57]
    assert last_commits(kept) == {0: (100, "99:0"), 1: (100, "99:0")}


async def test_at_a_revocation_what_is_held_is_shipped_and_committed(double: TinybirdDouble):
    kept, of = Kept(), lease()
    async with running(double, kept, ENDLESS_WINDOW) as pipeline:
        await pipeline.take(chunk(of, rows(5)))
        of.alive = False
        await pipeline.hand_over(PATIENCE_SECONDS)
    assert len(double.rows("events_v1")) == 5
    assert last_commits(kept) == {0: (5, "4:0")}


async def test_what_a_revocation_can_not_wait_for_is_let_go_of_and_never_committed(double: TinybirdDouble):
    kept, gone, back = Kept(), lease(), lease()
    both_are_stalled = asyncio.Barrier(3)

    async def stalled(_: Request) -> web.StreamResponse:
        await both_are_stalled.wait()
        return await asyncio.Future()

    double.answers += [stalled] * 2
    async with running(double, kept, bounds=Bounds(max_batches_in_flight=2, max_held_bytes=100_000_000)) as pipeline:
        for first in range(0, 1_000, 100):
            await pipeline.take(chunk(gone, rows(100, first_offset=first)))
        await both_are_stalled.wait()
        gone.alive = False
        await pipeline.hand_over(0.01)
        assert pipeline.health().held_bytes == 0
        assert kept.commits == []
        await pipeline.take(chunk(back, rows(300)))  # its next owner, or we again, from what is committed
        await pipeline.flush()
    assert len(double.rows("events_v1")) == 300
    assert last_commits(kept) == {0: (300, "299:0")}


async def test_a_row_that_ends_a_session_is_shipped_at_once(double: TinybirdDouble):
    kept = Kept()
    async with running(double, kept, ENDLESS_WINDOW) as pipeline:
        await pipeline.take(chunk(lease(), [*rows(2), output(2, SourcePosition(2, 0), b'{"end":1}', is_flush=True)]))
        await kept.committed.wait()
    assert len(double.rows("events_v1")) == 3


async def test_what_is_held_stays_within_its_bound_whatever_the_backlog(double: TinybirdDouble):
    kept, of, most = Kept(), lease(), 0
    async with running(double, kept, bounds=FEW_HELD) as pipeline:
        for first in range(0, 5_000, 100):
            await pipeline.take(chunk(of, rows(100, first_offset=first)))
            most = max(most, pipeline.health().held_bytes)
        await pipeline.flush()
        assert pipeline.health().held_bytes == 0
    assert 200_000 < most < FEW_HELD.max_held_bytes + 110_000
    assert len(double.rows("events_v1")) == 5_000


async def test_batches_under_way_and_the_age_of_their_rows_are_told(double: TinybirdDouble):
    kept = Kept()
    stall = Stall(double)
    double.answers.append(stall)
    by_window, ages = figure("batches_total", closed_by="window"), figure("latency_seconds_count")
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(lease(), rows(5)))
        await stall.has_begun.wait()
        assert figure("batches_in_flight") == 1
        stall.may_end.set()
        await kept.committed.wait()
        await pipeline.flush()
        assert figure("batches_in_flight") == 0
    assert figure("batches_total", closed_by="window") == by_window + 1
    assert figure("latency_seconds_count") == ages + 1
    assert figure("latency_seconds_sum") > 0


async def test_after_a_request_that_was_too_large_batches_stay_smaller(double: TinybirdDouble):
    kept, of = Kept(), lease()
    double.answers.append(status(413))
    async with running(double, kept) as pipeline:
        await pipeline.take(chunk(of, rows(100)))
        await pipeline.flush()
        too_large = len(b"\n".join(double.requests[0].lines))
        before = len(double.requests)
        await pipeline.take(chunk(of, rows(100, first_offset=100)))
        await pipeline.flush()
    assert all(len(b"\n".join(request.lines)) <= too_large // 2 for request in double.requests[before:])
    assert len(double.rows("events_v1")) == 200


async def test_a_bug_while_a_batch_is_shipped_ends_the_pipeline(double: TinybirdDouble):
    async def commit(_: Sequence[Covered]) -> None:
        raise AssertionError("nothing was written")

    async def reject(record: ConsumerRecord, reason: str, detail: str) -> None:
        raise ZeroDivisionError

    double.answers.append(refuse(rows(1)[0].value.__eq__, 400, double))
    async with asyncio.timeout(PATIENCE_SECONDS), tinybird_client(double.settings()) as client:
        pipeline = Pipeline("events_v1", LIMITS, ONE_BY_ONE, client, reject=reject, commit=commit)
        running_on = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0)  # it has begun to run: only then it takes chunks
        await pipeline.take(chunk(lease(), rows(1)))
        with pytest.raises(ZeroDivisionError):
            await running_on


async def test_batches_grow_while_as_many_as_may_be_are_under_way(double: TinybirdDouble):
    kept, of = Kept(), lease()
    async with running(double, kept, Limits(max_rows=10, max_bytes=8_000, window_ms=10)) as pipeline:
        await pipeline.take(chunk(of, rows(100)))
        await pipeline.flush()
    assert figure("batch_target_bytes") == 8_000
    assert len(double.rows("events_v1")) == 100


async def test_batches_shrink_while_there_is_room_for_more(double: TinybirdDouble):
    kept, of = Kept(), lease()
    async with running(double, kept, Limits(max_rows=100, max_bytes=8_000, window_ms=10), SEVERAL) as pipeline:
        for first in range(6):
            await pipeline.take(chunk(of, rows(1, first_offset=first)))
            await pipeline.flush()
    assert figure("batch_target_bytes") == 1_000
    assert len(double.rows("events_v1")) == 6
