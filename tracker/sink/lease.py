"""Opening leases on output partitions: they begin at the group's committed offset, whose metadata is the filter."""

from collections.abc import AsyncIterator, Callable

from aiokafka import TopicPartition

from tracker.sink.positions import SeenPositions
from tracker.streaming.consumer_thread import ChunkConsumerThread
from tracker.streaming.lease import Lease


class SinkLease(Lease):
    """The right to take one output partition's records, and the memory of what has been seen of it."""

    def __init__(self, partition: TopicPartition, generation: int, next_offset: int, seen: SeenPositions) -> None:
        super().__init__(partition, generation, next_offset)
        self.seen = seen
        #: What the group goes on with after a restart; what lies behind it is lag.
        self.committed_offset = next_offset


class SinkLeaseOpener:
    """Reads back what was committed. Nothing is kept between generations."""

    def __init__(self, thread: Callable[[], ChunkConsumerThread]) -> None:
        self._thread = thread

    async def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        """Yield a lease for each partition at its committed offset, or at the start of its log."""
        committed = await self._thread().committed(partitions)
        starts = await self._thread().log_starts(partitions)
        for tp in partitions:
            found = committed.get(tp)
            offset, metadata = (found.offset, found.metadata or "") if found is not None else (0, "")
            yield SinkLease(tp, generation, max(offset, starts[tp]), SeenPositions(metadata))

    def keep_only(self, partitions: set[TopicPartition]) -> None:  # LeaseOpener's signature
        """Nothing is held for partitions."""
