"""Batches, for any rows in any order from any partitions at any time."""

from collections import defaultdict

from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.sink.sink_records import lease, output
from topics.headers import SourcePosition
from tracker.sink.batches import Batch, Batcher, Covered, Limits

PARTITIONS = 3

limits = st.builds(Limits, max_rows=st.integers(1, 20), max_bytes=st.integers(5, 200), window_ms=st.integers(1, 50))
#: Milliseconds to the next row, its partition, the bytes of its value.
arrivals = st.lists(st.tuples(st.integers(0, 40), st.integers(0, PARTITIONS - 1), st.integers(1, 80)), max_size=80)


def run(limits: Limits, arrivals: list[tuple[int, int, int]]) -> tuple[list[Batch], list[ConsumerRecord]]:
    """Feed rows as the pipeline does, closing each batch when it is due."""
    batcher, now_ms = Batcher(limits), 1_000
    leases = [lease(partition) for partition in range(PARTITIONS)]
    offsets = [0] * PARTITIONS
    batches: list[Batch] = []
    fed: list[ConsumerRecord] = []
    for gap_ms, partition, size in arrivals:
        now_ms += gap_ms
        if batcher.notify_at_ms is not None and batcher.notify_at_ms <= now_ms:
            batches.append(batcher.close())
        offset = offsets[partition]
        offsets[partition] += 1
        position = SourcePosition(offset, 0)
        row = output(offset, position, b"x" * size, partition=partition)
        fed.append(row)
        batches += batcher.add_row(row, now_ms)
        batches += batcher.cover(Covered(leases[partition], offset + 1, position), now_ms)
        due_ms = batcher.notify_at_ms
        assert due_ms is None or now_ms < due_ms <= now_ms + limits.window_ms
    if batcher.notify_at_ms is not None:
        batches.append(batcher.close())
    return batches, fed


@given(limits, arrivals)
def test_each_row_is_in_one_batch_in_the_order_in_which_it_came(limits: Limits, arrivals: list[tuple[int, int, int]]):
    batches, fed = run(limits, arrivals)
    assert [row for batch in batches for row in batch.rows] == fed


@given(limits, arrivals)
def test_no_batch_is_over_a_limit_unless_one_row_alone_is(limits: Limits, arrivals: list[tuple[int, int, int]]):
    for batch in run(limits, arrivals)[0]:
        assert batch.rows
        assert len(batch.rows) <= limits.max_rows
        assert batch.size_bytes <= limits.max_bytes or len(batch.rows) == 1
        assert batch.size_bytes == sum(len(row.value) + 1 for row in batch.rows)


@given(limits, arrivals)
def test_a_batch_covers_no_row_that_it_or_an_earlier_one_does_not_hold(
    limits: Limits, arrivals: list[tuple[int, int, int]]
):
    held: defaultdict[int, int] = defaultdict(int)
    for batch in run(limits, arrivals)[0]:
        for row in batch.rows:
            held[row.partition] = row.offset + 1
        for tp, covered in batch.covers.items():
            assert covered.next_offset == held[tp.partition]
            assert covered.last_seen == SourcePosition(covered.next_offset - 1, 0)
