"""Accounts for every source record: a row, a letter, a forward, or the reason why the record gave nothing.

The source log is read as it is, and compared with the outputs. A record that gave no row must be one of those that
give none: a duplicate whose first coming is in the log, a passive event, one that was forwarded and has its copy, one
that was rejected and has its letter. So a record that the processor skipped in silence shows here.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aiokafka import ConsumerRecord

from topics.codec import RejectedRecord
from topics.headers import LogPlace, read_forwarded_from
from topics.records import Event, Keyed, Kind, Tick, decode_record, details_of, kind_of, workspace_of
from tracker.kafka.clients import partition_for_key
from tracker.kafka.log_reader import LogRange, LogReader
from tracker.sessions.memory import identity_of
from tracker.sessions.rules import SECOND_MS, Rules
from tracker.verify.offsets import Offsets
from tracker.verify.report import Check

Reason = Literal[
    "event", "session", "expire", "flush", "tick", "duplicate", "passive", "forwarded", "forwarded again", "rejected",
    "waiting",
]  # fmt: skip
REASONS: Final[tuple[Reason, ...]] = (
    "event", "session", "expire", "flush", "tick", "duplicate", "passive", "forwarded", "forwarded again", "rejected",
    "waiting",
)  # fmt: skip


#: Name and promise of the check.
ACCOUNTS: Final = "accounts"
ACCOUNTED: Final = "every source record is a row, or there is a reason why it is none"


class Outputs(NamedTuple):
    """Of each partition, the offsets of the source records that gave a numbered event, and of those in letters."""

    numbered: Mapping[int, Offsets]
    rejected: Mapping[int, Container[int]]
    #: Whether the log of numbered events reaches back to its start.
    is_whole: bool


#: By what an event is known within its partition: its session key, and its id with its content.
Identity = tuple[bytes, bytes]


class Unnumbered(NamedTuple):
    """A record that gave no row. Without an ``identity`` it is no event, or one that can't be told from others."""

    place: LogPlace
    stream_time_ms: int
    kind: Kind
    identity: Identity | None = None


@dataclass(slots=True)
class Ledger:
    """The fate of the records, and the records that are still to be found."""

    workspace_id: str | None
    #: Among how many partitions keys are spread.
    spread: int
    counts: Counter[Reason] = field(default_factory=Counter)
    #: Offsets that hold no record: transaction markers, and records that compaction removed.
    empty_offsets: int = 0
    #: Records in another partition than that of their key, and the places of those that have a copy there.
    misplaced: list[Unnumbered] = field(default_factory=list)
    copied: set[LogPlace] = field(default_factory=set)
    #: Events that are duplicates if their first coming is found.
    repeats: dict[int, list[Unnumbered]] = field(default_factory=lambda: defaultdict(list))

    def takes(self, record: Keyed) -> bool:
        """Return whether a record is of the workspace that is looked at."""
        return self.workspace_id is None or workspace_of(record) == self.workspace_id


@dataclass(frozen=True, slots=True)
class SourceLog:
    """The source topic, how far each of its partitions was folded, and by which rules."""

    reader: LogReader
    name: str
    ranges: Mapping[int, LogRange]
    folded: Mapping[int, int]
    rules: Rules
    #: Among how many partitions keys are spread.
    spread: int

    def judged(self, partition: int, outputs: Outputs) -> LogRange:
        """Return the records that are judged: all, or those from where the log of numbered events begins."""
        whole = self.ranges[partition]
        if outputs.is_whole:
            return whole
        first = outputs.numbered[partition].first if partition in outputs.numbered else None
        return LogRange(whole.end if first is None else max(whole.begin, first), whole.end)


async def account(log: SourceLog, outputs: Outputs, workspace_id: str | None) -> Check:
    """Account for every record up to the processor's watermark.

    Raises:
        RetryableError: the broker gives nothing any more.
    """
    check = Check(ACCOUNTS, ACCOUNTED)
    ledger = Ledger(workspace_id, log.spread)
    for partition in log.ranges:
        await _read_partition(log, partition, outputs, ledger, check)
    _settle_misplaced(log, ledger, check)
    await _find_first_comings(log, outputs, ledger, check)
    check.looked_at = ledger.counts.total()
    told = [f"{ledger.counts[reason]:,} {reason}" for reason in REASONS if ledger.counts[reason]]
    check.notes.append(f"{check.looked_at:,} source records: " + (", ".join(told) or "none"))
    if ledger.empty_offsets:
        check.notes.append(f"{ledger.empty_offsets:,} offsets hold no record (transaction markers)")
    return check


async def _read_partition(log: SourceLog, partition: int, outputs: Outputs, ledger: Ledger, check: Check) -> None:
    wanted, folded = log.judged(partition, outputs), log.folded.get(partition, 0)
    numbered, rejected = outputs.numbered.get(partition, Offsets()), outputs.rejected.get(partition, ())
    stream_time_ms, offset = 0, wanted.begin
    async for records in log.reader.read(log.name, partition, wanted):
        for record in records:
            ledger.empty_offsets += record.offset - offset
            offset = record.offset + 1
            stream_time_ms = max(stream_time_ms, record.timestamp)
            origin = read_forwarded_from(record.headers) if record.headers else None
            is_again = origin in ledger.copied
            if origin is not None:
                ledger.copied.add(origin)
            if record.offset >= folded:
                ledger.counts["waiting"] += ledger.workspace_id is None
            elif record.offset in numbered and ledger.workspace_id is None:
                ledger.counts["event"] += 1
            elif record.offset in rejected:
                ledger.counts["rejected"] += ledger.workspace_id is None
            else:
                is_numbered = record.offset in numbered
                _judge(record, stream_time_ms, ledger, check, is_numbered=is_numbered, is_again=is_again)


def _judge(
    record: ConsumerRecord, stream_time_ms: int, ledger: Ledger, check: Check, *, is_numbered: bool, is_again: bool
) -> None:
    """Find the reason why a record gave no row."""
    try:
        decoded = decode_record(record.key, record.value)
    except RejectedRecord as rejection:
        check.fault(f"rejected ({rejection.reason}), but there is no letter of it: {_at(record)}")
        return
    if not isinstance(decoded, Keyed) or record.key is None:
        ledger.counts["tick"] += ledger.workspace_id is None
        return
    if not ledger.takes(decoded):
        return
    found = Unnumbered(
        LogPlace(record.partition, record.offset), stream_time_ms, kind_of(decoded), _identity(record.key, decoded)
    )
    if is_numbered:
        ledger.counts["event"] += 1
    elif is_again:
        ledger.counts["forwarded again"] += 1
    elif isinstance(decoded, Event) and decoded.passive:
        ledger.counts["passive"] += 1
    elif partition_for_key(record.key, ledger.spread) != record.partition:
        ledger.misplaced.append(found)
    else:
        _settle(found, log_name=record.topic, ledger=ledger, check=check)


def _settle_misplaced(log: SourceLog, ledger: Ledger, check: Check) -> None:
    """A misplaced record is forwarded, unless its key is known in its partition: then it was applied there."""
    for found in ledger.misplaced:
        if found.place in ledger.copied:
            ledger.counts["forwarded"] += 1
        else:
            _settle(found, log_name=log.name, ledger=ledger, check=check)


def _settle(found: Unnumbered, *, log_name: str, ledger: Ledger, check: Check) -> None:
    if found.kind != "event":
        ledger.counts[found.kind] += 1
    elif found.identity is not None:
        ledger.counts["duplicate"] += 1
        ledger.repeats[found.place.partition].append(found)
    else:
        check.fault(f"an event without an id gave no row: {log_name}-{found.place.partition} @ {found.place.offset}")


async def _find_first_comings(log: SourceLog, outputs: Outputs, ledger: Ledger, check: Check) -> None:
    """Look for the numbered event that each duplicate repeats. Reads again the partitions that have any."""
    for partition, repeats in ledger.repeats.items():
        wanted = log.ranges[partition]
        names = {repeat.identity for repeat in repeats}
        keys = {name[0] for name in names if name is not None}
        found: dict[Identity | None, list[int]] = defaultdict(list)
        stream_time_ms, first_ms = 0, None
        async for records in log.reader.read(log.name, partition, LogRange(wanted.begin, log.folded[partition])):
            for record in records:
                stream_time_ms = max(stream_time_ms, record.timestamp)
                first_ms = stream_time_ms if first_ms is None else first_ms
                if record.key in keys and record.offset in outputs.numbered.get(partition, Offsets()):
                    name = _identity(record.key, decode_record(record.key, record.value))
                    if name in names:
                        found[name].append(stream_time_ms)
        for repeat in repeats:
            _judge_repeat(repeat, found[repeat.identity], log, first_ms or 0, check)


def _judge_repeat(repeat: Unnumbered, came_ms: list[int], log: SourceLog, log_begins_ms: int, check: Check) -> None:
    window_seconds = log.rules.duplicate_window_ms // SECOND_MS
    second = repeat.stream_time_ms // SECOND_MS
    if any(0 <= second - came // SECOND_MS <= window_seconds for came in came_ms):
        return
    if log.ranges[repeat.place.partition].begin > 0 and second - log_begins_ms // SECOND_MS <= window_seconds:
        return  # its first coming may lie before the log's beginning
    place = f"{log.name}-{repeat.place.partition} @ {repeat.place.offset}"
    check.fault(f"an event gave no row, and repeats none within the duplicate window: {place}")


def _identity(key: bytes, decoded: Keyed | Tick) -> Identity | None:
    """Return the identity of an event; None if it has no id, or if the record is no event."""
    if not isinstance(decoded, Event) or not decoded.data.event_id:
        return None
    return key, identity_of(decoded.data.event_id, details_of(decoded))


def _at(record: ConsumerRecord) -> str:
    return f"{record.topic}-{record.partition} @ {record.offset}"
