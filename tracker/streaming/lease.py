"""Leases: the right of this process to take one partition's records.

A lease is made when the partition's recovery in the current generation has ended, and it dies for good when the next
rebalance begins, even if the partition comes back. Without a live lease nothing is fetched, folded or written.
"""

import asyncio
from collections.abc import Sequence
from threading import Lock
from typing import Final

from aiokafka import TopicPartition

from tracker.errors import InvariantError
from tracker.history.reading import Skips

#: Chunks of one partition that may wait or be worked on; more are not fetched.
MAX_CHUNKS_IN_FLIGHT: Final = 2
#: While so many chunks of all partitions wait or are worked on, no partition gets a second one: a chunk and its outputs
#: take some 10 MiB.
MAX_CHUNKS_AHEAD: Final = 4


class Lease:
    """One partition in one generation. Stages subclass it to hang their own state on it."""

    def __init__(self, partition: TopicPartition, generation: int, next_offset: int) -> None:
        self.tp = partition
        self.generation = generation
        #: The next offset to fetch. Only the fetch loop moves it.
        self.next_offset = next_offset
        #: Records that an operator has decided to skip.
        self.skips: Skips = {}
        self.chunks_in_flight = 0
        self.alive = True
        #: Whether the disk is full, so that the last chunk can't be written.
        self.waits_for_room = False

    @property
    def topic(self) -> str:
        """The topic of the leased partition."""
        return str(self.tp.topic)

    @property
    def partition(self) -> int:
        """The number of the leased partition."""
        return int(self.tp.partition)

    @property
    def wants_records(self) -> bool:
        """Whether another chunk may be fetched."""
        return self.alive and self.chunks_in_flight < MAX_CHUNKS_IN_FLIGHT

    def __repr__(self) -> str:
        state = "live" if self.alive else "dead"
        return f"<Lease {self.topic}-{self.partition} generation={self.generation} {state}>"


class LeaseBook:
    """All leases of this process. Revocation comes from the consumer's thread, everything else from the main loop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._leases: dict[TopicPartition, Lease] = {}
        self._changed = asyncio.Event()
        self._fetching = True
        self._paused = False
        self.generation = 0
        #: Partitions that the group has given us in this generation; None until it has.
        self.expected: int | None = None

    def expect(self, count: int) -> None:
        """Note how many partitions the group has given us. Their leases follow one by one."""
        self.expected = count

    def stop_fetching(self) -> None:
        """Fetch nothing more, but let fetched records be finished: the process stops."""
        self._fetching = False

    def pause_fetching(self) -> None:
        """Fetch nothing more under the present leases: a rebalance has been announced. Safe from any thread."""
        with self._lock:
            self._paused = True

    def revoke_all(self) -> None:
        """End every lease, at the very start of a rebalance. Safe to call from any thread."""
        with self._lock:
            self._paused = False
            self.expected = None
            self.generation += 1
            for lease in self._leases.values():
                lease.alive = False
            self._leases.clear()

    def grant(self, lease: Lease) -> bool:
        """Enter a lease whose recovery has ended; False if its generation has passed meanwhile.

        Raises:
            InvariantError: the partition has a live lease, whose chunks the new one's recovery has not seen.
        """
        with self._lock:
            if lease.generation != self.generation:
                lease.alive = False
                return False
            if lease.tp in self._leases:
                raise InvariantError(f"{lease!r}: the partition is leased already in this generation")
            self._leases[lease.tp] = lease
        self._changed.set()
        return True

    def get(self, partition: TopicPartition) -> Lease | None:
        """Return the live lease of a partition, if this process has one."""
        return self._leases.get(partition)

    def live(self) -> list[Lease]:
        """Return all live leases."""
        with self._lock:
            return list(self._leases.values())

    def chunk_done(self, lease: Lease) -> None:
        """Note that a chunk has been worked on or dropped, so that another may be fetched."""
        lease.chunks_in_flight -= 1
        self._changed.set()

    async def wait_until_idle(self) -> None:
        """Wait until no chunk of a live lease is waiting or being worked on."""
        while any(lease.chunks_in_flight for lease in self.live()):
            self._changed.clear()
            await self._changed.wait()

    async def wait_for_wanting(self, timeout_seconds: float) -> list[Lease]:
        """Return the leases that want records, those without a chunk first.

        If no lease does, wait for one until the time is over.
        """
        wanting = self._wanting()
        if wanting:
            return wanting
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_seconds)
        except TimeoutError:
            return []
        return self._wanting()

    async def wait_for_others(self, asked: Sequence[Lease]) -> None:
        """Wait until a lease that is not among these wants records."""
        while all(lease in asked for lease in self._wanting()):
            self._changed.clear()
            await self._changed.wait()

    def _wanting(self) -> list[Lease]:
        if not self._fetching or self._paused:
            return []
        live = self.live()
        may_be_second = sum(lease.chunks_in_flight for lease in live) < MAX_CHUNKS_AHEAD
        wanting = [lease for lease in live if lease.wants_records and (may_be_second or not lease.chunks_in_flight)]
        return sorted(wanting, key=lambda lease: lease.chunks_in_flight)
