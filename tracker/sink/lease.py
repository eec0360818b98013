"""Opening leases on output partitions: they begin at the group's committed offset, whose metadata is the filter."""

from collections.abc import AsyncIterator, Callable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from topics.headers import SourcePosition
from tracker.sink import metrics
from tracker.sink.positions import Committed, SeenPositions, read_committed
from tracker.streaming.consumer_thread import ChunkConsumerThread
from tracker.streaming.lease import Lease

log = structlog.get_logger()


class SinkLease(Lease):
    """The right to take one output partition's records, and the source positions of those already seen."""

    def __init__(
        self,
        partition: TopicPartition,
        generation: int,
        next_offset: int,
        seen: SeenPositions,
        topic_id: str = "",
    ) -> None:
        super().__init__(partition, generation, next_offset)
        self.seen = seen
        self._topic_id = topic_id
        #: Where the group goes on after a restart; later records count as lag.
        self.committed_offset = next_offset

    def metadata(self, last_seen: SourcePosition) -> str:
        """Return the metadata of a committed offset: after a restart the sink drops repeats by it."""
        return Committed(last_seen, self._topic_id).encode()


class SinkLeaseOpener:
    """Reads back the committed offsets and their metadata. Nothing is kept between generations.

    ``datasources`` names the datasource that each topic's rows go to.
    """

    def __init__(self, thread: Callable[[], ChunkConsumerThread], datasources: Mapping[str, str]) -> None:
        self._thread = thread
        self._datasources = datasources
        #: The ids of the topics, once they are known.
        self.topic_ids: Mapping[str, str] = {}

    async def open_leases(self, partitions: list[TopicPartition], generation: int) -> AsyncIterator[Lease]:
        """Yield a lease for each partition at its committed offset, or at the start of its log."""
        committed = await self._thread().committed(partitions)
        starts = await self._thread().log_starts(partitions)
        for tp in partitions:
            yield self._lease(tp, generation, committed.get(tp), starts[tp])

    def keep_only(self, partitions: set[TopicPartition]) -> None:  # LeaseOpener's signature
        """Nothing is held for partitions."""

    def _lease(
        self, tp: TopicPartition, generation: int, committed: OffsetAndMetadata | None, log_start: int
    ) -> SinkLease:
        topic_id = self.topic_ids.get(tp.topic, "")
        metadata = (committed.metadata or "") if committed is not None else ""
        was = read_committed(metadata).topic_id
        if was and topic_id and was != topic_id:
            log.error("the topic was deleted and made again; its rows are sent from its beginning", partition=str(tp))
            committed, metadata = None, ""
        if committed is not None and committed.offset < log_start:
            log.error(
                "rows were deleted by retention before they were sent",
                partition=str(tp),
                first_lost=committed.offset,
                first_left=log_start,
            )
            metrics.LOST.labels(self._datasources[tp.topic]).inc(log_start - committed.offset)
        offset = max(committed.offset if committed is not None else 0, log_start)
        return SinkLease(tp, generation, offset, SeenPositions(metadata), topic_id)
