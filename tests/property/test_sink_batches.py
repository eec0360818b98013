"""Batches, for any rows in any order from any partitions at any time."""

from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sink.sink_records import lease, output
from topics.headers import SourcePosition
from tracker.sink.batches import Batch, Batcher, Covered, Limits

PARTITIONS = 3

limits = st.builds(Limits, max_rows=st.integers(1, 20), max_bytes=st.integers(5, 200), window_ms=st.integers(1, 50))
#: Milliseconds to the next chunk, its partition, the bytes of its rows' values; a chunk may have no row.
arrivals = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, PARTITIONS - 1), st.lists(st.integers(1, 80), max_size=30)),
    max_size=20,
)
Arrivals = list[tuple[int, int, list[int]]]


def run(limits: Limits, arrivals: Arrivals) -> tuple[list[Batch], list[ConsumerRecord], dict[int, int]]:
    """Feed chunks as the pipeline does, closing each batch when it is due; also return each partition's end."""
    batcher, now_ms = Batcher(limits), 1_000
    leases = [lease(partition) for partition in range(PARTITIONS)]
    ends = dict.fromkeys(range(PARTITIONS), 0)
    batches: list[Batch] = []
    fed: list[ConsumerRecord] = []
    for gap_ms, partition, sizes in arrivals:
        now_ms += gap_ms
        if batcher.notify_at_ms is not None and batcher.notify_at_ms <= now_ms:
            batches.append(batcher.close("window"))
        first = ends[partition]
        rows = [
            output(first + n, SourcePosition(first + n, 0), b"x" * size, partition=partition)
            for n, size in enumerate(sizes)
        ]
        fed += rows
        ends[partition] = end = first + len(rows) + 1  # behind the rows a record that is none
        covered = Covered(leases[partition], end, SourcePosition(end - 1, 0))
        batches += batcher.add(rows, SourcePosition(first - 1, 0), covered, now_ms)
        due_ms = batcher.notify_at_ms
        assert due_ms is None or now_ms < due_ms <= now_ms + limits.window_ms
    if batcher.notify_at_ms is not None:
        batches.append(batcher.close("flush"))
    return batches, fed, ends


@given(limits, arrivals)
def test_each_row_is_in_one_batch_in_the_order_in_which_it_came(limits: Limits, arrivals: Arrivals):
    batches, fed, _ = run(limits, arrivals)
    assert [row for batch in batches for row in batch.rows] == fed


@given(limits, arrivals)
def test_no_batch_is_over_a_limit_unless_one_row_alone_is(limits: Limits, arrivals: Arrivals):
    for batch in run(limits, arrivals)[0]:
        assert batch.covers
        assert len(batch.rows) <= limits.max_rows
        assert batch.size_bytes <= limits.max_bytes or len(batch.rows) == 1
        assert batch.size_bytes == sum(len(row.value) + 1 for row in batch.rows)


@given(limits, arrivals)
def test_a_batch_covers_no_row_that_it_or_an_earlier_one_does_not_hold(limits: Limits, arrivals: Arrivals):
    batches, fed, ends = run(limits, arrivals)
    held: set[tuple[int, int]] = set()
    covered_to: dict[int, int] = dict.fromkeys(ends, 0)
    for batch in batches:
        held |= {(row.partition, row.offset) for row in batch.rows}
        for covered in batch.covers.values():
            partition = covered.lease.partition
            assert covered.next_offset > covered_to[partition]
            assert covered.last_seen == SourcePosition(covered.next_offset - 1, 0)
            covered_to[partition] = covered.next_offset
        behind = {(row.partition, row.offset) for row in fed if row.offset < covered_to[row.partition]}
        assert behind <= held
    if batches:
        assert covered_to == ends
