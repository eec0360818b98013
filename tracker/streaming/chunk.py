"""Chunks: consecutive records of one partition, handed to an agent as one message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from tracker.errors import InvariantError
from tracker.history.reading import put_in
from tracker.streaming.lease import Lease


@dataclass(slots=True)
class Chunk:
    """Records under a lease, and the offsets [begin, end) that they cover.

    Some offsets have no record (the end of a transaction, and all of one that was aborted), but each offset is in one
    chunk. ``records`` is empty where none of its offsets has one.
    """

    lease: Lease
    records: Sequence[ConsumerRecord]
    begin: int
    end: int

    def let_go(self) -> None:
        """Free the records once they are folded: several chunks wait for their acks at a time."""
        self.records = ()


def cut_chunks(lease: Lease, records: Sequence[ConsumerRecord], position: int, max_records: int) -> Iterator[Chunk]:
    """Cut records fetched from the lease's next offset up to ``position`` into chunks, in order; move that offset on.

    Raises:
        InvariantError: the records begin before the next offset: the log is not the one that was folded.
    """
    if records and records[0].offset < lease.next_offset:
        raise InvariantError(
            f"{lease.topic}-{lease.partition} gave offset {records[0].offset} where {lease.next_offset} was next; "
            "was the topic deleted and made again? Then the local state and the changelog must go too"
        )
    records = put_in(lease.skips, records, lease.next_offset, position)
    # Without records, too: a transaction's end takes an offset, and W has to move past it.
    for start in range(0, max(1, len(records)), max_records):
        part = records[start : start + max_records]
        is_last = start + max_records >= len(records)
        begin, end = lease.next_offset, position if is_last else part[-1].offset + 1
        lease.next_offset = end
        lease.chunks_in_flight += 1
        yield Chunk(lease, part, begin, end)
