"""The order of things: first how far the sink has committed, then Tinybird, then the log up to its end.

So every row before the commit must be in Tinybird, and every row in Tinybird must be in the log by the time it is
read. Rows in between are on their way; whether Tinybird has them yet is no fault.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from pydantic import ValidationError

from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS, SOURCE, USAGE, Topic
from topics.dead_letter import DeadLetter
from tracker.dead_letters.letters import place_of, read_mark
from tracker.kafka.access import require_access
from tracker.kafka.admin import committed_offsets
from tracker.kafka.log_reader import LogReader, open_log_reader
from tracker.kafka.spread import spread_of
from tracker.settings import Settings
from tracker.tinybird.sql import QueryApi, quoted
from tracker.tinybird_clients import query_api
from tracker.verify.accounts import ACCOUNTED, ACCOUNTS, Outputs, SourceLog, account
from tracker.verify.hashes import EVENTS, SQL_SLICE, Kind, Scope, Session, in_pieces, session_of, slice_of
from tracker.verify.hashes import SESSIONS as SESSION_ROWS
from tracker.verify.imports import Imported, find_imports, imported_rows
from tracker.verify.log import Bucket, Logged, LoggedRow, OutputLog, Sum, is_whole, logged_rows, sum_rows
from tracker.verify.report import Check
from tracker.verify.sessions import ask_suspects, judge, session_checks
from tracker.verify.usage import check_usage

#: Rows of one bucket that are held against each other one by one; more are only counted.
MAX_BUCKET_ROWS: Final = 200_000
#: A query reads all rows.
QUERY_TIMEOUT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Letters:
    """What the dead letters say: which rows and sessions the sink could not place."""

    row_ids: frozenset[str]
    #: Of each partition, the source records that the processor has rejected.
    rejected: Mapping[int, Container[int]]
    sessions: frozenset[Session]
    #: Of each partition of the topic of usage, the offsets of the rows that the sink could not place.
    usage: Mapping[int, Container[int]]


async def verify(settings: Settings, scope: Scope) -> list[Check]:
    """Look at everything once.

    Raises:
        RetryableError: Kafka or Tinybird can't be reached.
    """
    letters_check = Check("dead_letter", "each dead letter can be read and has a reason")
    events_check = Check("events_log", "events_v1 has the rows of the log: counts and checksums by hour and slice")
    sessions_check = Check("sessions_log", "session_v1 has the latest row of each session in the log")
    usage_check = Check("usage_log", "usage_v1 has the rows of the log: counts and checksums by workspace and hour")
    checks = session_checks()
    await require_access(settings, "verify")
    async with (
        open_log_reader(settings, f"{settings.topic_prefix}verify") as reader,
        query_api(settings, QUERY_TIMEOUT_SECONDS) as rows,
    ):
        events_log = OutputLog(settings, reader, SEQUENCED, await _committed(settings, "sink", SEQUENCED))
        sessions_log = OutputLog(settings, reader, SESSIONS, await _committed(settings, "sink", SESSIONS))
        usage_log = OutputLog(settings, reader, USAGE, await _committed(settings, "sink", USAGE))
        stored = await _sums(rows, EVENTS, scope)
        pieces = in_pieces(await _count(rows, EVENTS))
        suspects = await ask_suspects(rows, scope, pieces)
        stored_sessions = await _stored_sessions(rows, scope)
        letters = await _read_letters(settings, reader, letters_check)
        imports = await find_imports(settings, (EVENTS.datasource, SESSION_ROWS.datasource))
        events = await sum_rows(_rows(events_log, EVENTS, imports), events_log.name, EVENTS, scope)
        events.is_whole = await is_whole(events_log)
        latest, on_their_way = await _latest_sessions(_rows(sessions_log, SESSION_ROWS, imports), scope)
        _compare_sessions(latest, stored_sessions, on_their_way | letters.sessions, sessions_check)
        judge(checks, suspects, on_their_way=events.on_their_way | on_their_way, with_letters=letters.sessions)
        differing = {bucket for bucket in {*events.sums, *stored} if events.sums.get(bucket) != stored.get(bucket)}
        events_check.looked_at = events.rows
        events_check.notes += [_told(what) for what in imports]
        if not events.is_whole:
            events_check.notes.append("the log does not reach back to its start: rows before it are not judged")
        if differing:
            held = await _differing_rows(rows, scope, differing, events_check)
            await _compare_events(_rows(events_log, EVENTS, imports), scope, held, letters, events_check)
            if events.is_whole:
                _report_unlogged(held, events_check)
        accounts_check = await _account(settings, reader, scope, events, letters)
        await check_usage(usage_log, rows, scope, letters.usage, usage_check)
    for check in checks.values():
        check.looked_at = sum(found.rows for found in stored.values())
    return [*checks.values(), letters_check, accounts_check, events_check, sessions_check, usage_check]


async def _rows(log: OutputLog, kind: Kind, imports: Sequence[Imported]) -> AsyncIterator[LoggedRow]:
    """Yield the rows that must be in a datasource: those of the output topic, then those of the imports' logs."""
    async for row in logged_rows(log):
        yield row
    for what in imports:
        async for row in imported_rows(what, kind):
            yield row


def _told(what: Imported) -> str:
    state = "its rows are held against its log" if what.finished else "it is not finished, its rows may be missing"
    return f"import {what.name}: {state}"


async def _account(settings: Settings, reader: LogReader, scope: Scope, events: Logged, letters: Letters) -> Check:
    """Account for the source log, up to where the processor has come."""
    if scope.from_ms is not None or scope.to_ms is not None:
        return Check(ACCOUNTS, ACCOUNTED, notes=["not looked at with --from or --to: a log has no order by event time"])
    folded = await _committed(settings, "process", SOURCE)
    ranges = await reader.ranges(SOURCE)
    spread = await spread_of(settings)
    log = SourceLog(reader, SOURCE.name(settings.topic_prefix), ranges, folded, settings.session_rules, spread)
    outputs = Outputs(events.sources, letters.rejected, is_whole=events.is_whole)
    return await account(log, outputs, scope.workspace_id)


async def _committed(settings: Settings, stage: str, topic: Topic) -> dict[int, int]:
    """Return how far a stage's group has committed each partition of a topic."""
    found = await committed_offsets(settings, f"{settings.topic_prefix}{stage}")
    name = topic.name(settings.topic_prefix)
    return {tp.partition: offset for tp, offset in found.items() if tp.topic == name}


async def _sums(rows: QueryApi, kind: Kind, scope: Scope) -> dict[Bucket, Sum]:
    query = (
        f"SELECT {kind.sql_hour} AS hour, {SQL_SLICE} AS slice, count() AS n, "  # noqa: S608 - nothing from outside
        f"toString(sum({kind.sql_hash})) AS checksum FROM {kind.datasource} FINAL "
        f"WHERE {scope.sql(kind, quoted)} GROUP BY hour, slice"
    )
    return {
        Bucket(int(row["hour"]), int(row["slice"])): Sum(int(row["n"]), int(row["checksum"]))
        for row in await rows.select(query)
    }


async def _count(rows: QueryApi, kind: Kind) -> int:
    (found,) = await rows.select(f"SELECT count() AS n FROM {kind.datasource}")  # noqa: S608 - as above
    return int(found["n"])


async def _stored_sessions(rows: QueryApi, scope: Scope) -> dict[Session, tuple[int, int]]:
    """Return version and hash of each session."""
    query = (
        f"SELECT workspace_id, session_id, version, toString({SESSION_ROWS.sql_hash}) AS hashed "  # noqa: S608 - as above
        f"FROM session_v1 FINAL WHERE {scope.sql(SESSION_ROWS, quoted)} AND "
    )
    return {
        session_of(row): (int(row["version"]), int(row["hashed"]))
        for piece in in_pieces(await _count(rows, SESSION_ROWS))
        for row in await rows.select(f"{query}{piece}")
    }


async def _read_letters(settings: Settings, reader: LogReader, check: Check) -> Letters:
    row_ids: set[str] = set()
    sessions: set[Session] = set()
    rejected: dict[int, set[int]] = defaultdict(set)
    usage: dict[int, set[int]] = defaultdict(set)
    name = DEAD_LETTERS.name(settings.topic_prefix)
    for partition, wanted in (await reader.ranges(DEAD_LETTERS)).items():
        async for records in reader.read(name, partition, wanted):
            for record in records:
                try:
                    if read_mark(record) is not None:
                        continue
                    letter = DeadLetter.model_validate_json(record.value or b"")
                except ValidationError as error:
                    problem = error.errors(include_url=False, include_input=False)[0]
                    where = ".".join(map(str, problem["loc"])) or "letter"
                    check.fault(f"dead letter {place_of(record)}: {where}: {problem['msg']}")
                    continue
                check.looked_at += 1
                if not letter.detail.strip():
                    check.fault(f"dead letter {place_of(record)}: no detail beside its reason {letter.reason}")
                if letter.source_topic == USAGE.name(settings.topic_prefix):
                    usage[letter.source_partition].add(letter.source_offset)
                elif letter.stage == "sink":
                    _take_row(letter, row_ids, sessions)
                else:
                    rejected[letter.source_partition].add(letter.source_offset)
    return Letters(frozenset(row_ids), rejected, frozenset(sessions), usage)


def _take_row(letter: DeadLetter, row_ids: set[str], sessions: set[Session]) -> None:
    try:
        row = orjson.loads(letter.value or b"")
    except orjson.JSONDecodeError:
        return
    if isinstance(row, dict):
        row_ids.add(str(row.get("id") or row.get("session_id")))
        sessions.add(Session(str(row.get("workspace_id")), str(row.get("session_id"))))


async def _compare_events(
    rows: AsyncIterator[LoggedRow], scope: Scope, held: dict[Bucket, dict[str, int]], letters: Letters, check: Check
) -> None:
    """Hold buckets against the log row by row, and take out of ``held`` what the log has."""
    async for found in rows:
        row = found.row
        if not scope.takes(EVENTS, row):
            continue
        in_bucket = held.get(Bucket(EVENTS.hour(row), slice_of(row["session_id"])))
        if in_bucket is None:
            continue
        what = f"{row['id']} (session {session_of(row)}, number {row['session_event_sequence']})"
        at = f"{found.topic}-{found.partition} @ {found.offset}"
        hashed = in_bucket.pop(row["id"], None)
        if hashed is None and found.is_written and row["id"] not in letters.row_ids:
            check.fault(f"missing in Tinybird: {what}, {at}")
        elif hashed is not None and hashed != EVENTS.hash(row):
            check.fault(f"checksum differs: {what}, {at}")


def _report_unlogged(held: dict[Bucket, dict[str, int]], check: Check) -> None:
    for in_bucket in held.values():
        for row_id in in_bucket:
            check.fault(f"not in the log: {row_id}")


async def _differing_rows(
    rows: QueryApi, scope: Scope, differing: set[Bucket], check: Check
) -> dict[Bucket, dict[str, int]]:
    held = {bucket: await _bucket_rows(rows, scope, bucket) for bucket in sorted(differing)}
    for bucket in [bucket for bucket, found in held.items() if len(found) >= MAX_BUCKET_ROWS]:
        check.fault(f"hour {bucket.hour}, slice {bucket.group} differs and has too many rows to say which")
        del held[bucket]
    return held


async def _bucket_rows(rows: QueryApi, scope: Scope, bucket: Bucket) -> dict[str, int]:
    query = (
        f"SELECT id, toString({EVENTS.sql_hash}) AS hashed FROM events_v1 FINAL "  # noqa: S608 - as above
        f"WHERE {scope.sql(EVENTS, quoted)} AND {EVENTS.sql_hour} = {bucket.hour} AND {SQL_SLICE} = {bucket.group} "
        f"LIMIT {MAX_BUCKET_ROWS}"
    )
    return {row["id"]: int(row["hashed"]) for row in await rows.select(query)}


async def _latest_sessions(
    rows: AsyncIterator[LoggedRow], scope: Scope
) -> tuple[dict[Session, tuple[int, int]], set[Session]]:
    """Return version and hash of each session's latest written row, and the sessions with rows on their way."""
    on_their_way: set[Session] = set()
    latest: dict[Session, tuple[int, int]] = {}
    async for found in rows:
        row = found.row
        name = session_of(row)
        if not found.is_written:
            on_their_way.add(name)
        elif scope.takes(SESSION_ROWS, row) and row["version"] >= latest.get(name, (-1, 0))[0]:
            latest[name] = (row["version"], SESSION_ROWS.hash(row))
    return latest, on_their_way


def _compare_sessions(
    latest: Mapping[Session, tuple[int, int]],
    stored: Mapping[Session, tuple[int, int]],
    unjudged: set[Session],
    check: Check,
) -> None:
    check.looked_at = len(latest)
    for name, (version, hashed) in latest.items():
        have = stored.get(name)
        if name in unjudged or have == (version, hashed):
            continue
        if have is None:
            check.fault(f"missing in Tinybird: session {name}, version {version}")
        else:
            what = f"version {have[0]} instead of {version}" if have[0] != version else "checksum differs"
            check.fault(f"session {name}: {what}")
