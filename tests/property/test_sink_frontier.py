"""Batches that are under way at the same time and end in any order: what may be committed of each partition."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sink.sink_records import lease
from topics.headers import SourcePosition
from tracker.sink.batches import Batch, Covered
from tracker.sink.frontier import Frontier
from tracker.sink.lease import SinkLease

PARTITIONS = 3

#: Which partitions each batch holds rows of.
batches = st.lists(st.sets(st.integers(0, PARTITIONS - 1), min_size=1), max_size=12)


def made(of_partitions: list[set[int]]) -> tuple[list[Batch], list[SinkLease]]:
    leases = [lease(partition) for partition in range(PARTITIONS)]
    result = []
    for number, partitions in enumerate(of_partitions):
        covers = {
            leases[partition]: Covered(leases[partition], number + 1, SourcePosition(number, 0))
            for partition in partitions
        }
        result.append(Batch(covers=covers))
    return result, leases


@given(batches, st.data())
def test_a_partition_is_committed_up_to_its_first_batch_that_is_not_written(
    of_partitions: list[set[int]], data: st.DataObject
):
    sent, leases = made(of_partitions)
    frontier = Frontier()
    for batch in sent:
        frontier.sent(batch)
    committed = dict.fromkeys(leases, 0)
    unwritten = set(range(len(sent)))
    for number in data.draw(st.permutations(range(len(sent))), label="they end in this order"):
        unwritten.discard(number)
        for covered in frontier.written(sent[number]):
            assert covered.next_offset > committed[covered.lease]
            committed[covered.lease] = covered.next_offset
        for of in leases:
            holding = [n for n, partitions in enumerate(of_partitions) if of.partition in partitions]
            first = min((n for n in holding if n in unwritten), default=len(sent))
            assert committed[of] == max((n + 1 for n in holding if n < first), default=0)
