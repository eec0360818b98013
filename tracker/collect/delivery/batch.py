"""A batch: records of one partition that go to Kafka together, and the one future of all who wait for them."""

import asyncio
import time
from typing import Final

from aiokafka.producer.message_accumulator import BatchBuilder

from topics.headers import Headers
from tracker.collect.spill.queue import Ticket

#: What most records have; one list for all of them.
NO_HEADERS: Final[Headers] = []
#: A record on its way: topic, key, value.
Routed = tuple[str, bytes, bytes]


class Batch:
    """Records of one partition that share their fate.

    ``accepted`` ends when the requests have their answer; what became of the batch in Kafka may be known later.
    """

    __slots__ = ("accepted", "builder", "deadline", "key_counts", "records", "size_bytes", "started", "ticket")

    def __init__(self, builder: BatchBuilder, deadline: asyncio.TimerHandle | None) -> None:
        self.builder = builder
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.accepted.add_done_callback(_retrieve)
        self.started = time.monotonic()
        self.deadline = deadline
        self.records: list[Routed] = []
        self.key_counts: dict[bytes, int] = {}
        self.size_bytes = 0
        #: Where it is in the spill, if it had to go there.
        self.ticket: Ticket | None = None

    def add(self, record: Routed, max_key_records: int, headers: Headers) -> bool:
        """Add a record; False if the batch is full, or has as many of this session as the processor can tell apart."""
        _, key, value = record
        count = self.key_counts.get(key, 0)
        if count >= max_key_records:
            return False
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self.key_counts[key] = count + 1
        self.records.append(record)
        self.size_bytes += len(key) + len(value)
        return True

    def stop_clock(self) -> None:
        """Let it take the time that it takes."""
        if self.deadline is not None:
            self.deadline.cancel()

    def accept(self) -> None:
        """Tell everyone who still waits that the records are safe."""
        self.stop_clock()
        if not self.accepted.done():
            self.accepted.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell everyone who still waits that this did not work out."""
        self.stop_clock()
        if not self.accepted.done():
            self.accepted.set_exception(error)


def _retrieve(accepted: "asyncio.Future[None]") -> None:
    """Mark a failure as seen: a batch may fail after all its requests have gone."""
    if not accepted.cancelled():
        accepted.exception()
