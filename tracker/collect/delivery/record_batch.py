"""Batches: records of one partition that go to Kafka together."""

import asyncio
import time
from typing import Final

from aiokafka.producer.message_accumulator import BatchBuilder

from topics.headers import Headers
from tracker.collect.delivery.handover import BatchAction, BatchEvent, BatchState, next_batch_state
from tracker.collect.spill.queue import Ticket

#: Most records have no headers; one list serves all of them.
NO_HEADERS: Final[Headers] = []
#: A record with its topic: topic, key, value.
TopicRecord = tuple[str, bytes, bytes]


class RecordBatch:
    """Records of one partition."""

    __slots__ = ("builder", "records", "size_bytes")

    def __init__(self, builder: BatchBuilder) -> None:
        self.builder = builder
        self.records: list[TopicRecord] = []
        self.size_bytes = 0

    def add(self, record: TopicRecord, headers: Headers) -> bool:
        """Add a record; False if the batch is full."""
        _, key, value = record
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self.records.append(record)
        self.size_bytes += len(key) + len(value)
        return True


class PendingBatch(RecordBatch):
    """A batch that requests wait for. ``handover.py`` has the table of its states."""

    __slots__ = ("deadline", "safe", "started", "state", "ticket")

    def __init__(self, builder: BatchBuilder, deadline: asyncio.TimerHandle) -> None:
        super().__init__(builder)
        self.state = BatchState.WAITING
        #: Ends when the records are safe, or with the error that the requests are told.
        self.safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.safe.add_done_callback(_retrieve)
        self.started = time.monotonic()
        self.deadline = deadline
        #: The place in the spill, while the batch is there or on its way there.
        self.ticket: Ticket | None = None

    def apply(self, event: BatchEvent, error: BaseException | None = None) -> None:
        """Change the state, and tell the requests or the spill where the table says so.

        Raises:
            InvariantError: the event can't happen in this state.
        """
        self.state, action = next_batch_state(self.state, event)
        if action is BatchAction.NONE:
            return
        if action is BatchAction.FAIL:
            self._fail(error)
        if action in (BatchAction.ACCEPT, BatchAction.ACCEPT_AND_FORGET):
            self._accept()
        if action in (BatchAction.FORGET, BatchAction.ACCEPT_AND_FORGET) and self.ticket is not None:
            self.ticket.arrived()

    def _accept(self) -> None:
        self.deadline.cancel()
        if not self.safe.done():
            self.safe.set_result(None)

    def _fail(self, error: BaseException | None) -> None:
        self.deadline.cancel()
        if not self.safe.done() and error is not None:
            self.safe.set_exception(error)


def _retrieve(safe: "asyncio.Future[None]") -> None:
    """Mark a failure as seen: a batch may fail when all of its requests have gone."""
    if not safe.cancelled():
        safe.exception()
