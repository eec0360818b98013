"""Usage: ``usage_v1`` must have what the topic of usage says of each workspace, by partition of the log and by hour."""

from collections import defaultdict
from collections.abc import AsyncIterator, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from topics.catalog import SOURCE
from tracker.kafka.log_reader import LogRange
from tracker.tinybird.sql import QueryApi, quoted
from tracker.verify.hashes import HOUR_SECONDS, MODULUS, Kind, Scope
from tracker.verify.log import LoggedRow, OutputLog, logged_rows
from tracker.verify.report import Check

#: Nothing of a partition is judged before this hour: its log holds no row any more.
NEVER: Final = 2**62

KIND: Final = Kind(
    "usage_v1",
    "version",
    "minute",
    ("workspace_id", "source_topic"),
    ("source_partition", "events", "sessions", "bytes", "rejected", "duplicates", "version"),
)


class Bucket(NamedTuple):
    """Rows that are added up together."""

    workspace_id: str
    partition: int
    hour: int

    def __str__(self) -> str:
        hour = datetime.fromtimestamp(self.hour * HOUR_SECONDS, UTC)
        return f"workspace {self.workspace_id!r}, partition {self.partition}, hour {hour:%Y-%m-%dT%H}Z"


class Total(NamedTuple):
    """How many rows, the events that they count, and the sum of their hashes."""

    rows: int
    events: int
    checksum: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows with {self.events:,} events"


NONE: Final = Total(0, 0, 0)


@dataclass(slots=True)
class LoggedUsage:
    """What the topic says, and what can't be judged by it."""

    totals: dict[Bucket, Total] = field(default_factory=dict)
    #: With rows on their way, or in the dead letters.
    unsettled: set[Bucket] = field(default_factory=set)
    #: The hour from which on the log of a partition has all rows.
    whole_from: dict[int, int] = field(default_factory=dict)

    def is_judged(self, bucket: Bucket) -> bool:
        """Return whether the log says all of what Tinybird must have."""
        return bucket not in self.unsettled and bucket.hour >= self.whole_from.get(bucket.partition, NEVER)


async def stored_usage(rows: QueryApi, scope: Scope, source_topic: str) -> dict[Bucket, Total]:
    """Return what Tinybird has of one source topic."""
    query = (
        f"SELECT workspace_id, source_partition, {KIND.sql_hour} AS hour, count() AS n, "  # noqa: S608 - quoted
        f"sum(usage_v1.events) AS counted, toString(sum({KIND.sql_hash})) AS checksum FROM usage_v1 FINAL "
        f"WHERE source_topic = {quoted(source_topic)} AND {scope.sql(KIND, quoted)} "
        "GROUP BY workspace_id, source_partition, hour"
    )
    return {
        Bucket(str(row["workspace_id"]), int(row["source_partition"]), int(row["hour"])): Total(
            int(row["n"]), int(row["counted"]), int(row["checksum"])
        )
        for row in await rows.select(query)
    }


async def sum_usage(
    rows: AsyncIterator[LoggedRow],
    ranges: Mapping[int, LogRange],
    scope: Scope,
    letters: Mapping[int, Container[int]],
) -> LoggedUsage:
    """Add up the rows of the topic. ``letters`` has the offsets of those that the sink could not place."""
    logged = LoggedUsage(whole_from={number: 0 if found.begin == 0 else NEVER for number, found in ranges.items()})
    totals: dict[Bucket, list[int]] = defaultdict(lambda: [0, 0, 0])
    async for found in rows:
        bucket = Bucket(found.row["workspace_id"], found.partition, KIND.hour(found.row))
        if logged.whole_from.get(found.partition, NEVER) == NEVER:
            # Rows of this hour may have been deleted with the beginning of the log.
            logged.whole_from[found.partition] = bucket.hour + 1
        if not found.is_written or found.offset in letters.get(found.partition, ()):
            logged.unsettled.add(bucket)
        elif scope.takes(KIND, found.row):
            for at, value in enumerate((1, found.row["events"], KIND.hash(found.row))):
                totals[bucket][at] += value
    logged.totals = {bucket: Total(n, events, hashes % MODULUS) for bucket, (n, events, hashes) in totals.items()}
    return logged


def judge_usage(logged: LoggedUsage, stored: Mapping[Bucket, Total], check: Check) -> None:
    """Note where Tinybird has something else than the log."""
    check.looked_at = sum(total.rows for total in logged.totals.values())
    for bucket in sorted({*logged.totals, *stored}):
        expected, found = logged.totals.get(bucket, NONE), stored.get(bucket, NONE)
        if found == expected or not logged.is_judged(bucket):
            continue
        differs = "other rows than the log" if found[:2] == expected[:2] else f"{found} instead of {expected}"
        check.fault(f"{bucket}: {differs}")


async def check_usage(
    log: OutputLog, rows: QueryApi, scope: Scope, letters: Mapping[int, Container[int]], check: Check
) -> None:
    """Look at all usage that was put out; at nothing, not even at the datasource, where none ever was.

    Raises:
        RetryableError: Kafka or Tinybird can't be reached.
    """
    if not any(found.end for found in (await log.reader.ranges(log.topic)).values()):
        check.notes.append("no usage was put out (TRACKER_USAGE_COUNTED)")
        return
    stored = await stored_usage(rows, scope, SOURCE.name(log.settings.topic_prefix))
    ranges = await log.reader.ranges(log.topic)
    logged = await sum_usage(logged_rows(log), ranges, scope, letters)
    if logged.unsettled:
        check.notes.append(f"{len(logged.unsettled):,} hours have rows on their way or in the dead letters")
    judge_usage(logged, stored, check)
