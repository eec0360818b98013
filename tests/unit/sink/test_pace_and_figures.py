"""How the pipeline adapts to what Tinybird says, and what it tells of its batches: metrics, and traces."""

import asyncio
from collections import deque
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord
from prometheus_client import REGISTRY

from tests.unit.sink.sink_records import chunk, lease, output, rows
from tests.unit.sink.virtual_pipeline import DATASOURCE, ENDLESS_WINDOW, Running, pipeline_test
from topics.headers import SOURCE_TIME_MS, SourcePosition
from tracker import clock
from tracker.sink.batches import Limits
from tracker.sink.pipeline import ROW_OVERHEAD_BYTES, Bounds, Pipeline
from tracker.tinybird.answers import RowsTooLarge, TinybirdUnavailable

WINDOW_SECONDS = 10.0
LIMITS = Limits(max_rows=100, max_bytes=8_000, window_ms=10_000)
NOW_MS = 1_760_000_100_000


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW_MS)


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"tracker_sink_{name}", {"datasource": DATASOURCE, **labels}) or 0.0


async def ship(running: Running, records: list[ConsumerRecord], partition: int = 0) -> None:
    await running.pipeline.take(chunk(lease(partition), records))
    await running.pipeline.flush()


@pipeline_test(LIMITS)
async def test_batches_wait_longer_and_grow_once_tinybird_has_held_one_up(running):
    running.api.faults = deque([TinybirdUnavailable("429", 1.0, is_throttling=True)])
    await ship(running, rows(5))
    assert not running.api.faults
    assert figure("batch_window_seconds") == 2 * WINDOW_SECONDS
    assert figure("batch_target_bytes") == 2_000


@pipeline_test(LIMITS)
async def test_batches_wait_less_and_stay_small_while_all_is_well(running):
    await ship(running, rows(5))
    assert figure("batch_window_seconds") == WINDOW_SECONDS / 2
    assert figure("batch_target_bytes") == 1_000


@pipeline_test(replace(LIMITS, max_rows=5))
async def test_a_batch_was_behind_if_another_was_ready_or_it_took_the_last_place(running):
    await ship(running, rows(10))
    assert [len(sent) for sent in running.api.requests] == [5, 5]
    assert figure("batch_target_bytes") == 4_000
    assert figure("batch_window_seconds") == WINDOW_SECONDS


@pytest.mark.parametrize(
    ("paced_seconds", "window_seconds"),
    [(4, WINDOW_SECONDS / 3), (4.998, WINDOW_SECONDS / 3), (5.002, WINDOW_SECONDS), (6, WINDOW_SECONDS)],
)
def test_a_batch_was_throttled_if_it_waited_for_the_rate_limit_longer_than_for_its_window(
    paced_seconds: float, window_seconds: float
):
    @pipeline_test(LIMITS)
    async def test(running: Running) -> None:
        running.api.answer_headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(paced_seconds)}
        await ship(running, rows(5))
        assert figure("batch_window_seconds") == WINDOW_SECONDS / 2
        running.api.answer_headers = {}
        began = running.now
        await ship(running, rows(5, partition=1), partition=1)
        assert running.now - began == pytest.approx(paced_seconds, abs=0.001)
        assert figure("batch_window_seconds") == pytest.approx(window_seconds, abs=0.001)

    test()


@pipeline_test(LIMITS)
async def test_after_a_request_that_was_too_large_a_batch_is_full_at_half_of_it(running):
    running.api.is_refused = lambda sent: RowsTooLarge("413") if len(sent) > 1 else None
    await ship(running, rows(2))
    sent_bytes = sum(len(row.value) + 1 for row in rows(2))
    assert figure("batch_target_bytes") == sent_bytes // 2


@pipeline_test(ENDLESS_WINDOW)
async def test_a_batch_is_counted_with_its_rows_its_bytes_and_the_time_that_it_took(running):
    names = ("batches_total", "batch_rows_sum", "batch_bytes_sum", "write_seconds_count", "write_seconds_sum")

    def figures() -> list[float]:
        return [figure(name, **({"closed_by": "flush"} if name == "batches_total" else {})) for name in names]

    before = figures()
    await asyncio.sleep(1_000)
    running.api.faults = deque([TinybirdUnavailable("429", 50.0, is_throttling=True)])
    await ship(running, rows(5))
    batches, row_count, size_bytes, writes, seconds = (now - then for now, then in zip(figures(), before, strict=True))
    assert (batches, row_count, writes) == (1, 5, 1)
    assert size_bytes == sum(len(row.value) + 1 for row in rows(5))
    assert seconds == pytest.approx(50, abs=1)


@pipeline_test(ENDLESS_WINDOW)
async def test_the_age_of_a_batch_is_that_of_its_oldest_row(running):
    before = figure("latency_seconds_sum"), figure("latency_seconds_count")
    old = replace(output(0, SourcePosition(0, 0), b"{}"), timestamp=NOW_MS - 7_000)
    older = replace(output(1, SourcePosition(1, 0), b"{}"), timestamp=NOW_MS - 9_000)
    await ship(running, [old, older])
    assert figure("latency_seconds_sum") - before[0] == pytest.approx(9)
    assert figure("latency_seconds_count") - before[1] == 1


@pytest.mark.parametrize(("came_ms", "seconds"), [(NOW_MS - 3_500, 3.5), (NOW_MS, 0.0), (NOW_MS + 60_000, 0.0)])
def test_the_time_from_the_source_log_on_is_told_for_the_row_that_carries_it(came_ms: int, seconds: float):
    @pipeline_test(ENDLESS_WINDOW)
    async def test(running: Running) -> None:
        before = figure("end_to_end_seconds_sum"), figure("end_to_end_seconds_count")
        plain, first, other = rows(3)
        first = replace(first, headers=(*first.headers, (SOURCE_TIME_MS, b"%d" % came_ms)))
        other = replace(other, headers=(*other.headers, ("x", b"%d" % came_ms)))
        await ship(running, [plain, first, other])
        assert figure("end_to_end_seconds_sum") - before[0] == pytest.approx(seconds)
        assert figure("end_to_end_seconds_count") - before[1] == 1

    test()


@pipeline_test(ENDLESS_WINDOW)
async def test_a_record_of_the_future_has_no_negative_age(running):
    before = figure("latency_seconds_sum")
    await ship(running, [replace(rows(1)[0], timestamp=NOW_MS + 60_000)])
    assert figure("latency_seconds_sum") == before


@pipeline_test(ENDLESS_WINDOW)
async def test_repeats_are_counted(running):
    before = figure("duplicates_total")
    of = lease()
    await running.pipeline.take(chunk(of, rows(3)))
    again = [replace(row, offset=row.offset + 3) for row in rows(3)]
    await running.pipeline.take(chunk(of, again))
    assert figure("duplicates_total") - before == 3


def test_what_alerts_look_at_is_there_before_anything_has_happened():
    Pipeline("fresh", LIMITS, Bounds(1, 1), client=None, reject=None, commit=None)
    counters = {"duplicates": {}, "lost_records": {}, "rejected_rows": {"reason": "refused"}}
    found = {
        name: REGISTRY.get_sample_value(f"tracker_sink_{name}_total", {"datasource": "fresh", **labels})
        for name, labels in counters.items()
    }
    assert found == dict.fromkeys(counters, 0.0)


@pipeline_test(ENDLESS_WINDOW)
async def test_the_memory_of_rows_that_are_not_written_is_told(running):
    await running.pipeline.take(chunk(lease(), rows(5)))
    wanted = sum(len(row.value) + 1 + ROW_OVERHEAD_BYTES for row in rows(5))  # a newline follows each
    assert figure("held_bytes") == running.pipeline.health().held_bytes == wanted
    await running.pipeline.flush()
    assert figure("held_bytes") == 0


@pipeline_test(ENDLESS_WINDOW)
async def test_a_batch_is_written_within_a_span_that_is_told_its_rows(running):
    await ship(running, rows(3))
    assert running.tracing.batches == [(DATASOURCE, [0, 1, 2], 1)]
