"""What has to hold after each seed, by the written rules, by a plain fold of the whole log, and by what was sent.

The bytes are compared with the fold's. Whether the fold is right, the model in ``tests/reference`` says, which shares
no line with it.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import orjson

from tests.reference.compare import fold_differences, table_differences
from tests.reference.model import Model
from tests.simulation.broker import CHANGELOG_TOPIC, PREFIX, SOURCE_TOPIC, PartitionLog
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, USAGE
from topics.headers import SOURCE_OFFSET, SOURCE_TIME_MS, read_position
from tracker.kafka.clients import partition_for_key
from tracker.sessions.deadlines import Deadlines
from tracker.sessions.fold import PartitionFold
from tracker.sessions.keys import is_page
from tracker.sessions.layouts import (
    USAGE_KEY,
    WATERMARK_KEY,
    decode_state,
    encode_page,
    encode_state,
    encode_usage,
    wins,
)
from tracker.sessions.outputs import Output
from tracker.sessions.state import Watermark
from tracker.sessions.working_table import Row as TableRow
from tracker.sink.positions import SeenPositions
from tracker.table.store import row_of

if TYPE_CHECKING:
    from tests.simulation.run import Simulation

#: How many differences are told.
SHOWN = 3


class Reference:
    """One partition's log, folded in one go on a plain dict by the fold that runs in production, and by the model."""

    def __init__(self, simulation: "Simulation", number: int) -> None:
        self.table: dict[bytes, TableRow] = {}
        self._rules = simulation.plan.rules
        home_of = partial(partition_for_key, partitions=simulation.plan.partitions)
        records = simulation.broker.log(SOURCE_TOPIC, number).records
        self._fold = fold = PartitionFold(
            topic=SOURCE_TOPIC,
            partition=number,
            partition_of=home_of,
            rules=simulation.plan.rules,
            lookup=self.table.get,
            read_pages=lambda keys: [None for _ in keys],
            deadlines=Deadlines(),
            mark=Watermark(stream_time_ms=0),
        )
        result = fold.fold(records)
        self.outputs = {
            SEQUENCED.suffix: result.events,
            SESSIONS.suffix: result.sessions,
            DEAD_LETTERS.suffix: result.dead_letters,
            USAGE.suffix: result.usage,
        }
        self.table |= {key: row for key, row in result.changed.items() if row.state is not None}
        pages = {key: (page.offset, page.content) for key, page in result.pages.items()}
        self._pages = {key: encode_page(offset, content) for key, (offset, content) in pages.items() if content}
        usage = result.usage_offset, result.usage_mark
        self._usage = {USAGE_KEY: encode_usage(*usage)} if result.usage_offset >= 0 else {}
        model = Model(simulation.plan.rules, number, home_of).take(records)
        table = {key: stored.state for key, stored in self.table.items()}
        #: Where the fold itself does not do what the rules say.
        self.broken_rules = [
            f"partition {number}: {wrong}"
            for wrong in (*fold_differences(model, result), *table_differences(model, table))
        ]

    def has_ended(self, raw: bytes) -> bool:
        """Whether a version of a session had ended when the log did."""
        return decode_state(raw).deadline_ms(self._rules) < self._fold.stream_time_ms

    def encoded_table(self) -> dict[bytes, bytes]:
        return (
            self._usage
            | self._pages
            | {key: encode_state(stored.offset, stored.state) for key, stored in self.table.items()}
        )


def verdict(simulation: "Simulation") -> list[str]:
    """Return what does not hold, or nothing."""
    wrong: list[str] = []
    references = [Reference(simulation, number) for number in range(simulation.plan.partitions)]
    for number, reference in enumerate(references):
        wrong += reference.broken_rules
        for topic in (SEQUENCED, SESSIONS, DEAD_LETTERS, USAGE):
            log = simulation.broker.log(topic.name(PREFIX), number)
            wrong += _differences(log, reference.outputs[topic.suffix])
            wrong += _repeats_sent(simulation, log)
        wrong += _table_differences(simulation.broker.log(CHANGELOG_TOPIC, number), reference)
    wrong += _rows_missing(simulation, references)
    events = [orjson.loads(output.value) for r in references for output in r.outputs[SEQUENCED.suffix] if output.value]
    sessions = [orjson.loads(output.value) for r in references for output in r.outputs[SESSIONS.suffix] if output.value]
    return wrong + _rules_broken(simulation, events, sessions)


def _content(key: Any, value: Any, headers: Any) -> tuple[Any, ...]:
    # Where chunks are cut differs from run to run, and that header tells a chunk's first output.
    return key, value, tuple(header for header in headers if header[0] != SOURCE_TIME_MS)


def _differences(log: PartitionLog, expected: list[Output]) -> list[str]:
    """Consumers see exactly the reference's outputs, byte for byte, once repeats are dropped."""
    seen = SeenPositions()
    once, repeated = [], 0
    for record in log.records:
        position = read_position(record.headers)
        if position is None:
            return [f"{log.tp} offset {record.offset} has no source position"]
        if seen.is_new(position):
            once.append(_content(record.key, record.value, record.headers))
        else:
            repeated += 1
    wrong = []
    for at, (found, output) in enumerate(zip_longest(once, expected)):
        wanted = _content(*output) if output is not None else None
        if found != wanted:
            wrong.append(f"{log.tp.topic}-{log.tp.partition} output {at}:\n  expected {wanted}\n  found    {found}")
            if len(wrong) == SHOWN:
                break
    return wrong


def _repeats_sent(simulation: "Simulation", log: PartitionLog) -> list[str]:
    """The sink's filter lets no repeat through, whatever happened between its commits."""
    seen = SeenPositions()
    repeats = [r for r in log.records if (at := read_position(r.headers)) is not None and not seen.is_new(at)]
    sent = [record.offset for record in repeats if record.value and id(record.value) in simulation.tinybird.sent]
    return [f"{log.tp.topic}-{log.tp.partition}: the sink sent the repeats at {sent[:SHOWN]}"] if sent else []


def _table_differences(log: PartitionLog, reference: Reference) -> list[str]:
    """Whoever reads the changelog now, merging by highest offset, has the reference's table."""
    rows: dict[bytes, bytes] = {}
    for record in log.records:
        key, offset, value = row_of(record.key, record.value, int(dict(record.headers).get(SOURCE_OFFSET, b"0")))
        if wins(offset, rows.get(key)):
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
    rows.pop(WATERMARK_KEY, None)
    expected = reference.encoded_table()
    # A stale write of what has been removed is still in the log; the fold knows it for what it is.
    rows = {key: raw for key, raw in rows.items() if key in expected or not (is_page(key) or reference.has_ended(raw))}
    return [
        f"table {log.tp.partition}, {key!r}:\n  expected {expected.get(key)!r}\n  found    {rows.get(key)!r}"
        for key in sorted(rows.keys() | expected.keys())
        if rows.get(key) != expected.get(key)
    ][:SHOWN]


def _rows_missing(simulation: "Simulation", references: list[Reference]) -> list[str]:
    """Tinybird has each event row once it has collapsed them by id, and of each session the highest version."""
    wrong = []
    found_events = set(simulation.tinybird.rows["events_v1"])
    expected = {output.value for r in references for output in r.outputs[SEQUENCED.suffix] if output.value}
    if found_events != expected:
        missing, extra = expected - found_events, found_events - expected
        wrong.append(f"events_v1: {len(missing)} rows missing, {len(extra)} too many: {[*missing, *extra][:SHOWN]}")
    usage = {output.value for r in references for output in r.outputs[USAGE.suffix]}
    if set(simulation.tinybird.rows["usage_v1"]) != usage:
        wrong.append(f"usage_v1: expected {sorted(usage)}\n  found {sorted(simulation.tinybird.rows['usage_v1'])}")
    ids = Counter(orjson.loads(raw)["id"] for raw in expected)
    if simulation.plan.stubs_outlast_the_run:
        wrong += [f"two different rows have the id {row_id}" for row_id, times in ids.items() if times > 1]
    found = _collapsed(simulation.tinybird.rows["session_v1"])
    wanted = _collapsed([output.value for r in references for output in r.outputs[SESSIONS.suffix] if output.value])
    if found != wanted:
        keys = [key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)]
        wrong += [
            f"session_v1 {key}:\n  expected {wanted.get(key)}\n  found    {found.get(key)}" for key in keys[:SHOWN]
        ]
    return wrong


def _collapsed(rows: list[bytes]) -> dict[tuple[str, str], bytes]:
    newest: dict[tuple[str, str], tuple[int, bytes]] = {}
    for raw in rows:
        row = orjson.loads(raw)
        held = newest.get(session_of(row))
        if held is None or row["version"] >= held[0]:
            newest[session_of(row)] = (row["version"], raw)
    return {key: raw for key, (_, raw) in newest.items()}


def _rules_broken(simulation: "Simulation", events: list[Any], sessions: list[Any]) -> list[str]:
    """What came out keeps the promises, whatever any reference says."""
    numbers, closes = defaultdict(list), defaultdict(list)
    for event in events:
        numbers[session_of(event)].append(event["session_event_sequence"])
    for row in sessions:
        if row["is_expired"]:
            closes[session_of(row)].append(row)
    wrong = [
        f"{key} was closed at the wrong time: {row}" for rows in closes.values() for row in rows for key in _late(row)
    ]
    ids = Counter(event["event_id"] for event in events)
    missing = simulation.traffic.event_ids.keys() - ids.keys()
    wrong += [
        f"{name} was sent once and numbered {ids[name]} times"
        for name, times in simulation.traffic.event_ids.items()
        if times == 1 and ids[name] > 1
    ]
    if missing:
        wrong.append(f"accepted, but never numbered: {sorted(missing)[:SHOWN]}")
    lives = {session_of(row): 0 for row in sessions}
    for key, found in numbers.items():
        lives[key] = found.count(1)
        if found != [number for run in _runs(found) for number in run]:
            wrong.append(f"{key} has the numbers {found}")
    if simulation.plan.stubs_outlast_the_run:  # otherwise a key may begin a second life under its own name
        wrong += [f"{key} has the numbers {found}" for key, found in numbers.items() if found.count(1) != 1]
        wrong += [f"{key} was closed {times} times" for key in lives if (times := _ends(closes[key])) != 1]
    return wrong[: 2 * SHOWN]


def session_of(row: Any) -> tuple[str, str]:
    """Whose row it is: a session is known by its workspace and its id."""
    return row["workspace_id"], row["session_id"]


def _ends(rows: list[Any]) -> int:
    """How often a session has ended: a closed one that takes a passive event gives another row of the same end."""
    return len({(row["closed_at"], row["close_reason"]) for row in rows})


def _runs(numbers: list[int]) -> list[range]:
    """What the numbers would be if each life of a key began at 1 and left none out."""
    starts = [at for at, number in enumerate(numbers) if number == 1 or at == 0]
    return [range(1, end - start + 1) for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True)]


def _late(row: Any) -> list[str]:
    if row["close_reason"] != "timeout":
        return []
    due = datetime.fromisoformat(row["last_activity_at"]) + timedelta(seconds=row["session_timeout_seconds"])
    return [] if datetime.fromisoformat(row["closed_at"]) == due else [row["session_id"]]
