"""Commits the offsets of written rows: one commit at a time, the latest of each lease, none once it is handed over.

A rebalance ends the leases in the consumer's thread, a moment before the hand-over begins here. Rows written in
that moment are committed by the hand-over: until its end the group waits for us, and the partitions are still ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from aiokafka.errors import KafkaError

from tracker.kafka.clients import RETRY_SECONDS
from tracker.sink.batches import Covered
from tracker.sink.lease import SinkLease

log = structlog.get_logger()

#: Commits for the group.
#: Raises KafkaError: not committed; the same may be tried again.
Commit = Callable[[Sequence[Covered]], Awaitable[None]]


class Committer:
    """Rows are written before ``add`` is called, so a commit that fails loses nothing: they would come again."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: dict[SinkLease, Covered] = {}
        #: Those of leases that have ended, for the hand-over that is to come.
        self._ended: dict[SinkLease, Covered] = {}
        self._added = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_handing_over = False
        self._hand_overs = 0

    def add(self, covers: Iterable[Covered]) -> None:
        """Commit these offsets; they replace waiting ones of the same leases."""
        self._waiting |= {covered.lease: covered for covered in covers}
        if self._waiting:
            self._idle.clear()
            self._added.set()

    async def run(self) -> None:
        """Commit for ever."""
        while True:
            await self._added.wait()
            self._added.clear()
            due, self._waiting = self._waiting, {}
            if not self._is_handing_over:
                self._ended |= {lease: covered for lease, covered in due.items() if not lease.alive}
            covers = [covered for lease, covered in due.items() if lease not in self._ended]
            if covers:
                await self._try(covers)
            if not self._waiting:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until nothing is left that may be committed."""
        await self._idle.wait()

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """Meanwhile commits count although their leases have ended: a rebalance has begun, and waits for us.

        After it another worker may have got on with the partition; a commit would put the group back. So offsets that
        are not committed by then are dropped.
        """
        self._is_handing_over = True
        ended, self._ended = self._ended, {}
        self.add((ended | self._waiting).values())
        try:
            yield
        finally:
            self._is_handing_over = False
            self._hand_overs += 1
            self._waiting.clear()
            self._ended.clear()
            self._idle.set()

    async def _try(self, covers: Sequence[Covered]) -> None:
        hand_overs = self._hand_overs
        try:
            await self._commit(covers)
        except KafkaError as error:
            log.warning("offsets could not be committed; trying again", error=repr(error))
            if hand_overs == self._hand_overs:
                self._waiting = {covered.lease: covered for covered in covers} | self._waiting
            await asyncio.sleep(RETRY_SECONDS)
            self._added.set()
            return
        for covered in covers:
            covered.lease.committed_offset = covered.next_offset
