"""What must hold after any fault, checked against the source log itself.

The source log is folded once more here, by the pure core, in one go and undisturbed: what the workers put out must be
that, byte for byte, each output once. That the fold does what the written rules say is checked against the model in
``tests/reference``, and the promises on the rows alone, so that a fold that is wrong twice does not go unseen.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import partial

import orjson
from aiokafka import ConsumerRecord

from tests.reference.compare import fold_differences
from tests.reference.model import Model
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, USAGE
from topics.headers import SourcePosition, read_position
from tracker.kafka.clients import partition_for_key
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold
from tracker.sessions.outputs import FoldResult, Output
from tracker.sessions.rules import Rules
from tracker.sessions.state import Watermark
from tracker.sessions.working_table import Row as TableRow

#: Problems that are shown in full; the rest is counted.
SHOWN_PROBLEMS = 5

OUTPUT_TOPICS = (SEQUENCED, SESSIONS, DEAD_LETTERS, USAGE)
Row = tuple[bytes | None, bytes | None]
#: A session's workspace, its id, and when it began.
Session = tuple[str, str, str]


class Reference:
    """One partition of the source log, folded undisturbed while it grows."""

    def __init__(self, topic: str, partition: int, partitions: int, rules: Rules, *, has_holes: bool = False) -> None:
        self._has_holes = has_holes
        self.expected: dict[str, dict[SourcePosition, Row]] = {topic.suffix: {} for topic in OUTPUT_TOPICS}
        #: When each event came first and last, by stream time.
        self.event_times: dict[str, tuple[int, int]] = {}
        self.rules = rules
        self.events = 0
        self.last_offset = -1
        #: Stream time at each source offset, to check closes without the fold.
        self.stream_times: list[int] = []
        #: Where the fold does not do what the rules say.
        self.broken_rules: list[str] = []
        home_of = partial(partition_for_key, partitions=partitions)
        self._model = Model(rules, partition, home_of)
        self._table: dict[bytes, TableRow] = {}
        self._pages: dict[bytes, bytes | None] = {}
        self._fold = PartitionFold(
            topic=topic,
            partition=partition,
            partition_of=home_of,
            rules=rules,
            lookup=self._table.get,
            read_pages=lambda keys: [self._pages.get(key) for key in keys],
            deadlines=Deadlines(),
            mark=Watermark(stream_time_ms=0),
        )

    def add(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            assert self._has_holes or record.offset == self.last_offset + 1, "the source log has holes"
            before = self.stream_times[-1] if self.stream_times else 0
            self.stream_times += [before] * (record.offset - self.last_offset - 1)
            self.last_offset = record.offset
            self.stream_times.append(max(before, record.timestamp))
            if not self._has_holes and record.key is not None and record.value.startswith(b'{"type":"event"'):
                self._note_event(orjson.loads(record.value)["data"]["event_id"])
        result = self._fold.fold(records)
        self._hold_against_rules(records, result)
        self._pages.update((key, page.content) for key, page in result.pages.items())
        for key, row in result.changed.items():
            if row.state is None:
                self._table.pop(key, None)
            else:
                self._table[key] = row
        for topic, outputs in zip(
            OUTPUT_TOPICS, (result.events, result.sessions, result.dead_letters, result.usage), strict=True
        ):
            self.expected[topic.suffix].update(_positioned(outputs))

    def _note_event(self, event_id: str) -> None:
        self.events += 1
        now = self.stream_times[-1]
        self.event_times[event_id] = self.event_times.get(event_id, (now,))[0], now

    def _hold_against_rules(self, records: list[ConsumerRecord], result: FoldResult) -> None:
        model = self._model.take(records)
        if len(self.broken_rules) < SHOWN_PROBLEMS:
            self.broken_rules += fold_differences(model, result)
        model.made.clear()
        model.forwarded.clear()

    @property
    def open_sessions(self) -> int:
        return sum(stored.state.is_open for stored in self._table.values())

    @property
    def last_output(self) -> int:
        """The source offset of the last record that gives any output, or -1."""
        return max((next(reversed(rows)).offset for rows in self.expected.values() if rows), default=-1)


def _positioned(outputs: Iterable[Output]) -> Iterable[tuple[SourcePosition, Row]]:
    for key, value, headers in outputs:
        position = read_position(headers)
        assert position is not None
        yield position, (key, value)


class Outputs:
    """One partition of one output topic, through the filter that every consumer applies: what is new goes forward."""

    def __init__(self) -> None:
        self.rows: dict[SourcePosition, Row] = {}
        self.repeats = 0
        self.problems: list[str] = []
        self.last = SourcePosition(-1, -1)

    def add(self, record: ConsumerRecord) -> None:
        position = read_position(record.headers)
        row = (record.key, record.value)
        if position is None:
            self.problems.append(f"an output without a source position at offset {record.offset}")
        elif position > self.last:
            self.rows[position] = row
            self.last = position
        elif self.rows.get(position) == row or row in self._later_of_record(position):
            self.repeats += 1
        elif position in self.rows:
            self.problems.append(f"{position} is repeated as other bytes")
        else:
            self.problems.append(f"{position} comes after {self.last}, and was not there before")

    def _later_of_record(self, position: SourcePosition) -> list[Row]:
        """The outputs of the same record at a higher index.

        After a kill between two changelog batches some sessions have had the record and say nothing this time, so that
        what the others say again moves up. It still lies behind what consumers have seen.
        """
        return [row for at, row in self.rows.items() if at.offset == position.offset and at.nth > position.nth]


def compare(reference: Reference, outputs: dict[str, Outputs]) -> list[str]:
    """What the workers put out for a partition against what its log says."""
    problems = list(reference.broken_rules)
    for suffix, expected in reference.expected.items():
        found = outputs[suffix].rows
        problems += outputs[suffix].problems
        missing = expected.keys() - found.keys()
        surplus = found.keys() - expected.keys()
        other = [position for position in expected.keys() & found.keys() if expected[position] != found[position]]
        for what, positions in (("missing", missing), ("not in the log", surplus), ("other bytes", other)):
            if positions:
                problems.append(f"{suffix}: {len(positions)} outputs {what}, the first at {min(positions)}")
    return problems


def check_promises(reference: Reference, outputs: dict[str, Outputs]) -> list[str]:
    """The promises, on the rows alone: numbers 1..n in log order, one close per session, at its deadline.

    A session is told by its id and its beginning: a key whose stub is forgotten starts again under its own name.
    """
    problems = []
    began: dict[tuple[str, str], str] = {}
    numbers: Counter[Session] = Counter()
    closes: dict[Session, set[str]] = defaultdict(set)
    for position, row in sorted([*_rows(outputs[SEQUENCED.suffix]), *_rows(outputs[SESSIONS.suffix])], key=_place):
        name = row["workspace_id"], row["session_id"]
        if "is_expired" in row:
            began[name] = row["created_at"]
            session = (*name, row["created_at"])
            if row["is_expired"]:
                problems += _check_close(reference, position, row, numbers[session], is_late=bool(closes[session]))
                closes[session].add(row["closed_at"])
            continue
        session = (*name, began.get(name, "never"))
        numbers[session] += 1
        if row["session_event_sequence"] != numbers[session]:
            problems.append(f"{session} has {row['session_event_sequence']} for {numbers[session]}")
        if position.offset > reference.last_offset:
            problems.append(f"an output of {position}, which the source log does not have")
    problems += [f"{session} closed {len(times)} times" for session, times in closes.items() if len(times) != 1]
    problems += [f"{session} has events and no row" for session in numbers.keys() - closes.keys()]
    return problems


def _place(entry: tuple[SourcePosition, dict]) -> SourcePosition:
    return entry[0]


def _rows(outputs: Outputs) -> Iterable[tuple[SourcePosition, dict]]:
    """The outputs that carry a row; a flush carries none."""
    return ((position, orjson.loads(value)) for position, (_, value) in outputs.rows.items() if value)


def _check_close(
    reference: Reference, position: SourcePosition, row: dict, events: int, *, is_late: bool
) -> Iterable[str]:
    """What is wrong with the row of a closed session; ``is_late``: it has taken an event since it was closed."""
    if row["event_count"] != events:
        yield f"{row['session_id']} closed with {row['event_count']} events, but has {events}"
    if row["close_reason"] != "timeout" or is_late:
        return
    closed = datetime.fromisoformat(row["closed_at"])
    deadline = datetime.fromisoformat(row["last_activity_at"]) + timedelta(seconds=row["session_timeout_seconds"])
    deadline_ms = round(deadline.timestamp() * 1000)
    times = reference.stream_times
    before = times[position.offset - 1] if position.offset else 0
    if closed != deadline or not before <= deadline_ms < times[position.offset]:
        yield f"{row['session_id']} closed at {closed}, its deadline was {deadline}, the log was at {before}"


def check_accepted(acked: set[str], references: Collection[Reference], events: Iterable[Row]) -> list[str]:
    """Each event that Kafka acked is numbered, and once, however often it came within the duplicate window."""
    problems = []
    numbered = Counter(orjson.loads(value)["event_id"] for _, value in events if value)
    lost = acked - numbered.keys()
    if lost:
        problems.append(f"{len(lost)} acked events were never numbered, such as {min(lost)}")
    first, last = dict[str, int](), dict[str, int]()
    for reference in references:
        for event, (came, came_again) in reference.event_times.items():
            first[event] = min(came, first.get(event, came))
            last[event] = max(came_again, last.get(event, came_again))
    window_ms = min(reference.rules.duplicate_window_ms for reference in references)
    doubled = [event for event, count in numbered.items() if count > 1 and last[event] - first[event] <= window_ms]
    if doubled:
        problems.append(f"{len(doubled)} events were numbered more than once, such as {doubled[0]}")
    return problems


def summary(problems: list[str]) -> str:
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown
