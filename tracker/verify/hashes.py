"""One hash of a row, computed in ClickHouse's SQL and in Python from the bytes in Kafka: the two must agree.

xxHash64 over the columns below, each with a line break behind it. Its sums (modulo 2^64) do not depend
on the order of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from xxhash import xxh64_intdigest

#: Groups within an hour; by session, so that both sides can tell. Tinybird's rows don't know Kafka's partitions.
SLICES: Final = 16
#: Rows that one query groups by session: its memory in Tinybird, and its answer, stay bounded. Each reads all rows.
PIECE_ROWS: Final = 1_000_000
MODULUS: Final = 2**64
HOUR_SECONDS: Final = 3_600
#: Times whose milliseconds are remembered: a row's is asked for its scope, its hour and its hash, one after the other.
TIMES_KEPT: Final = 4


@lru_cache(TIMES_KEPT)
def milliseconds(iso: str) -> int:
    """Return a row's time in whole milliseconds since the epoch, rounded down as ClickHouse does."""
    at = datetime.fromisoformat(iso)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 1000 + at.microsecond // 1000


class Session(NamedTuple):
    """By what a session is known, in both datasources."""

    workspace_id: str
    session_id: str

    def __str__(self) -> str:
        return f"{self.session_id} of workspace {self.workspace_id!r}" if self.workspace_id else self.session_id


def session_of(row: Mapping[str, Any]) -> Session:
    """Return whose row it is, of an event or of a session."""
    return Session(row["workspace_id"], row["session_id"])


@dataclass(frozen=True, slots=True)
class Kind:
    """A datasource, the columns of its rows' id and time, and the hashed columns."""

    datasource: str
    id_column: str
    time_column: str
    text_columns: tuple[str, ...]
    number_columns: tuple[str, ...]

    @property
    def sql_hash(self) -> str:
        """The hash in SQL."""
        parts = [*self.text_columns, *(f"toString(toUInt64({name}))" for name in self.number_columns)]
        time = f"toString(toUnixTimestamp64Milli({self.time_column}))"
        return f"xxHash64(concat({', '.join(f'{part}, char(10)' for part in [*parts, time])}))"

    @property
    def sql_hour(self) -> str:
        """The hour in SQL, in hours since the epoch."""
        return f"intDiv(toUnixTimestamp({self.time_column}), {HOUR_SECONDS})"

    def hash(self, row: Mapping[str, Any]) -> int:
        """Return the hash of a row as it lies in Kafka."""
        # A row of an earlier release lacks columns that came later; in Tinybird they are empty.
        parts = [str(row.get(name, "")) for name in self.text_columns]
        parts += [str(int(row[name])) for name in self.number_columns]
        parts += (str(milliseconds(row[self.time_column])), "")
        return xxh64_intdigest("\n".join(parts).encode())

    def hour(self, row: Mapping[str, Any]) -> int:
        """Return the hour of a row, in hours since the epoch."""
        return milliseconds(row[self.time_column]) // 1000 // HOUR_SECONDS


SQL_SLICE: Final = f"xxHash64(session_id) % {SLICES}"


def in_pieces(rows: int) -> list[str]:
    """Return conditions in SQL that divide so many rows into pieces, each with whole sessions."""
    pieces = 1 + rows // PIECE_ROWS
    return [f"xxHash64(session_id) % {pieces} = {piece}" for piece in range(pieces)]


EVENTS: Final = Kind(
    "events_v1",
    "id",
    "timestamp",
    (
        *("id", "event_id", "session_id", "event_type", "event_value", "event_value_type", "workspace_id", "user_id"),
        *("campaign_id", "project_id", "page_url"),
    ),
    ("session_event_sequence",),
)
SESSIONS: Final = Kind(
    "session_v1",
    "session_id",
    "created_at",
    ("session_id", "session_key", "workspace_id", "visitor_id", "user_id", "campaign_id", "close_reason"),
    ("event_count", "is_expired", "version"),
)


def slice_of(session_id: str) -> int:
    """Return the group of a session."""
    return xxh64_intdigest(session_id.encode()) % SLICES


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are looked at: of a workspace, and of a time [from, to)."""

    workspace_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def takes(self, kind: Kind, row: Mapping[str, Any]) -> bool:
        """Return whether a row in Kafka is meant."""
        if self.workspace_id is not None and row["workspace_id"] != self.workspace_id:
            return False
        at = milliseconds(row[kind.time_column])
        return (self.from_ms is None or at >= self.from_ms) and (self.to_ms is None or at < self.to_ms)

    def sql(self, kind: Kind, quoted: Callable[[str], str]) -> str:
        """Return the same as a condition in SQL."""
        at = f"toUnixTimestamp64Milli({kind.time_column})"
        parts = ["1"]
        if self.workspace_id is not None:
            parts.append(f"workspace_id = {quoted(self.workspace_id)}")
        if self.from_ms is not None:
            parts.append(f"{at} >= {self.from_ms}")
        if self.to_ms is not None:
            parts.append(f"{at} < {self.to_ms}")
        return " AND ".join(parts)
