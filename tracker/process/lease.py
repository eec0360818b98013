"""What a processor holds for a leased partition: its table, its fold, and W."""

from aiokafka import TopicPartition

from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold, PartitionOf
from tracker.sessions.rules import Rules
from tracker.sessions.state import decode_state
from tracker.streaming.lease import Lease
from tracker.table.sessions import SessionTable
from tracker.table.store import SessionStore


class SessionLease(Lease):
    """The right to fold one partition, with all that lives in memory for it. It dies as a whole."""

    def __init__(
        self,
        partition: TopicPartition,
        generation: int,
        *,
        store: SessionStore,
        partition_of: PartitionOf,
        rules: Rules,
        cache_max_sessions: int,
        log_start_offset: int,
    ) -> None:
        watermark, mark = store.watermark()
        #: W: the last source offset folded. The next chunk must begin right after it.
        self.watermark = max(watermark, log_start_offset - 1)
        super().__init__(partition, generation, self.watermark + 1)
        self.table = SessionTable(store, cache_max_sessions)
        self.rules = rules
        deadlines = Deadlines()
        deadlines.load({key: decode_state(raw).deadline_ms(rules) for key, raw in store.states()})
        self.fold = PartitionFold(
            topic=partition.topic,
            partition=partition.partition,
            partition_of=partition_of,
            rules=rules,
            lookup=self.table.lookup,
            deadlines=deadlines,
            mark=mark,
        )

    @property
    def store(self) -> SessionStore:
        """The partition's local copy of the table."""
        return self.table.store
