"""What a processor holds for a leased partition: its table, its fold, and W."""

import asyncio
import itertools
from collections.abc import Collection
from dataclasses import replace
from itertools import groupby
from typing import Final, NamedTuple

import msgspec
from aiokafka import TopicPartition

from topics.schemas import NO_SCHEMAS, Schemas
from tracker.process.assumptions import LogId
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold, PartitionOf
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.keys import META_PREFIX, page_number, row_of_page
from tracker.sessions.layouts import USAGE_KEY, decode_lifetime, decode_state, offset_of
from tracker.sessions.rules import Rules
from tracker.sessions.state import Watermark
from tracker.sessions.working_table import Row
from tracker.streaming.lease import Lease
from tracker.table.sessions import SessionTable
from tracker.table.store import SessionStore

#: States whose deadlines are read before other partitions get a turn: some milliseconds.
DEADLINES_PER_TURN: Final = 5_000


class Lifetimes(NamedTuple):
    """The deadlines, and the numbers of open and of all known sessions, as a partition's states have them."""

    deadlines: Deadlines
    open_sessions: int
    known_sessions: int


async def read_lifetimes(store: SessionStore, rules: Rules) -> Lifetimes:
    """Read when each session of a store ends. About 1.5 us a session; others get their turn in between.

    Raises:
        StateDamagedError: the store can't be read to its end.
    """
    deadlines, open_sessions, known_sessions = Deadlines(), 0, 0
    states = store.states()
    while found := list(itertools.islice(states, DEADLINES_PER_TURN)):
        lifetimes = [decode_lifetime(raw) for _, raw in found]
        deadlines.add((key, lifetime.deadline_ms(rules)) for (key, _), lifetime in zip(found, lifetimes, strict=True))
        open_sessions += sum(lifetime.is_open for lifetime in lifetimes)
        known_sessions += len(found)
        await asyncio.sleep(0)
    return Lifetimes(deadlines, open_sessions, known_sessions)


def remove_orphaned_pages(store: SessionStore) -> None:
    """Remove the pages that no session refers to: a worker was killed before it had removed them, or wrote them late.

    A page from after W is of a chunk whose states may still come: another worker, or this one, is yet to write them.

    Raises:
        StateDamagedError: the store can't be read to its end.
    """
    unreferred: list[bytes] = []
    for row, keys in groupby(store.page_keys(), key=row_of_page):
        raw = store.get(row)
        pages = None if raw is None else decode_state(raw).pages
        unreferred += [key for key in keys if pages is None or not pages.first <= page_number(key) < pages.end]
    watermark, _ = store.watermark()
    values = zip(unreferred, store.get_many(unreferred), strict=True)
    orphans = [key for key, value in values if value is not None and offset_of(value) <= watermark]
    if orphans:
        store.remove(orphans)


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
        lifetimes: Lifetimes,
        log_id: LogId = LogId(),  # noqa: B008 - it is immutable
        seal: ForwardSeal = ForwardSeal(),  # noqa: B008 - it is immutable
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        watermark, mark = store.watermark()
        #: W: the last source offset folded. The next chunk must begin right after it.
        self.watermark = max(watermark, log_start_offset - 1)
        super().__init__(partition, generation, self.watermark + 1)
        #: Another worker wrote to the changelog during this lease: rows are merged from then on, not just written.
        self.contested = False
        self._log_id = log_id
        self.table = SessionTable(store, cache_max_sessions)
        # Once a partition is written in a newer layout it stays so, whichever worker takes it over.
        self.rules = rules = replace(rules, layout=max(rules.layout, mark.layout))
        self.open_sessions, self.known_sessions = lifetimes.open_sessions, lifetimes.known_sessions
        self.fold = PartitionFold(
            topic=partition.topic,
            partition=partition.partition,
            partition_of=partition_of,
            rules=rules,
            lookup=self.table.lookup,
            read_pages=self.table.read_pages,
            deadlines=lifetimes.deadlines,
            mark=mark,
            seal=seal,
            schemas=schemas,
        )
        self.fold.usage.resume(*store.usage())

    @property
    def store(self) -> SessionStore:
        """The partition's local copy of the table."""
        return self.table.store

    @property
    def mark(self) -> Watermark:
        """The mark that is stored together with W: the fold's, with the id and the partitions of its log."""
        return msgspec.structs.replace(self.fold.mark, topic_id=self._log_id.source, partitions=self._log_id.partitions)

    def take_in(self, keys: Collection[bytes]) -> None:
        """Bring the memory up to date with rows that were merged into the store."""
        held = {key: self.table.cached(key) for key in keys}
        self.table.forget(keys)
        self.fold.forget(keys)
        if USAGE_KEY in keys:
            self.fold.usage.resume(*self.store.usage())
        for key in keys:
            raw = self.store.get(key) if not key.startswith(META_PREFIX) else None
            if raw is not None:
                self._rearm(key, raw, held[key])

    def _rearm(self, key: bytes, raw: bytes, held: Row | None) -> None:
        """Arm the deadline of a merged row, unless it is no sooner than that of the row which the fold had."""
        deadline_ms = decode_lifetime(raw).deadline_ms(self.rules)
        if held is None or held.state is None:
            self.fold.deadlines.arm(key, deadline_ms)
        else:
            self.fold.deadlines.rearm(key, held.state.deadline_ms(self.rules), deadline_ms)
