"""Checks within each session. They run where the data are, in Tinybird's SQL, so many rows at a time."""

from collections.abc import Container, Sequence
from typing import Final

from tracker.tinybird.sql import QueryApi, quoted
from tracker.verify.hashes import EVENTS, Scope, Session, session_of
from tracker.verify.report import Check

MAX_SUSPECTS_PER_PIECE: Final = 1_000
_SESSION: Final = "workspace_id, session_id"


def session_checks() -> dict[str, Check]:
    """Return the checks that this module fills."""
    return {
        "sequence": Check("sequence", "the events of a session are numbered 1, 2, 3 … without a gap"),
        "number": Check("number", "no two events of a session have one number"),
        "session_row": Check("session_row", "a session's row agrees with its events"),
    }


def _query(scope: Scope, piece: str) -> str:
    touched = ""
    if scope != Scope():
        of_scope = f"SELECT {_SESSION} FROM events_v1 WHERE {scope.sql(EVENTS, quoted)}"  # noqa: S608 - quoted
        touched = f"AND ({_SESSION}) IN ({of_scope})"
    return f"""
        WITH events AS (
            SELECT {_SESSION}, count() AS n, min(session_event_sequence) AS low, max(session_event_sequence) AS high,
                uniqExact(session_event_sequence) AS numbers
            FROM events_v1 FINAL WHERE {piece} {touched}
            GROUP BY {_SESSION}
        ),
        sessions AS (
            SELECT {_SESSION}, is_expired, event_count, close_reason, closed_at, created_at, last_activity_at,
                1 AS is_there
            FROM session_v1 FINAL WHERE {piece}
        )
        SELECT events.workspace_id AS workspace_id, events.session_id AS session_id, n, low, high, numbers,
            sessions.is_there AS is_there, sessions.event_count AS event_count,
            sessions.is_there = 1 AND (sessions.is_expired AND sessions.event_count != n
                OR sessions.event_count > n OR sessions.is_expired != isNotNull(sessions.closed_at)
                OR sessions.is_expired != (sessions.close_reason != '')
                OR sessions.last_activity_at < sessions.created_at) AS disagrees,
            count() OVER () AS suspects
        FROM events LEFT JOIN sessions
            ON sessions.workspace_id = events.workspace_id AND sessions.session_id = events.session_id
        WHERE low != 1 OR high != numbers OR n != numbers OR disagrees OR is_there = 0
        ORDER BY workspace_id, session_id LIMIT {MAX_SUSPECTS_PER_PIECE}"""  # noqa: S608 - a quoted workspace


async def ask_suspects(rows: QueryApi, scope: Scope, pieces: Sequence[str]) -> list[dict[str, int | str]]:
    """Return the sessions of which something does not hold, as Tinybird has them now."""
    suspects: list[dict[str, int | str]] = []
    for piece in pieces:
        suspects += [dict(row) for row in await rows.select(_query(scope, piece))]
    return suspects


def judge(
    checks: dict[str, Check],
    suspects: list[dict[str, int | str]],
    *,
    on_their_way: Container[Session],
    with_letters: Container[Session],
) -> None:
    """Sort the suspects into faults; sessions whose rows are on their way, or in the dead letters, are none."""
    for row in suspects:
        name = session_of(row)
        if name in on_their_way:
            continue
        n, low, high, numbers = (int(row[key]) for key in ("n", "low", "high", "numbers"))
        if n != numbers:
            checks["number"].fault(f"session {name}: {n - numbers} of {n} events have a number that another has")
        if name in with_letters:
            continue
        if low != 1 or high != numbers:
            checks["sequence"].fault(f"session {name}: {numbers} numbers from {low} to {high}")
        if not int(row["is_there"]):
            checks["session_row"].fault(f"session {name}: {n} events, but no row")
        elif int(row["disagrees"]):
            checks["session_row"].fault(f"session {name}: its row says {row['event_count']} events, there are {n}")
