"""Promoting a replay: the sessions that it wrote into datasources of their own take the place of the live ones.

Only sessions that have ended are touched, on both sides, so nothing that is being written is. Rows are appended first
and what they replace is deleted afterwards: at no moment is a session missing. Every step may be repeated, so a
promotion that was interrupted is simply run again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tracker.errors import ConfigurationError
from tracker.replay.generation import Generation
from tracker.replay.plan import Plan
from tracker.tinybird_admin import DatasourceAdmin
from tracker.tinybird_sql import Rows, quoted

LIVE_EVENTS: Final = "events_v1"
LIVE_SESSIONS: Final = "session_v1"
#: Rows that are copied with one query, about.
COPY_ROWS: Final = 20_000

#: Appends rows to a datasource; returns once they are written.
Append = Callable[[str, Sequence[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion would do, in numbers, and the conditions by which it does it."""

    events: str
    sessions: str
    replayed_sessions: int
    open_sessions: int
    removed_sessions: int
    replayed_events: int
    new_events: int
    removed_events: int
    #: The events to delete from live, and the session rows, after the replayed ones have been appended.
    delete_events: str
    delete_sessions: str

    @property
    def changes_nothing(self) -> bool:
        """Whether live holds exactly the replayed sessions and events already."""
        return not (self.new_events or self.removed_events or self.removed_sessions)


def promotable(generation: Generation) -> Plan:
    """Return the generation's plan, if it can be promoted.

    Raises:
        ConfigurationError: it is missing, not finished, or not in datasources.
    """
    plan = generation.plan
    if plan is None:
        raise ConfigurationError(f"there is no generation {generation.name!r}")
    if plan.request.target != "datasource":
        raise ConfigurationError("only a replay into --datasource can be promoted")
    left = [each.partition for each in plan.partitions if generation.result(each.partition) is None]
    if left:
        raise ConfigurationError(f"partitions {left} are not finished: run the replay again to go on")
    return plan


async def look(rows: Rows, plan: Plan) -> Promotion:
    """Count what a promotion would do. Reads only.

    Raises:
        RetryableError: Tinybird can't be reached or refuses a query.
    """
    events, sessions = plan.request.events_datasource, plan.request.sessions_datasource
    ended = f"SELECT session_id FROM {sessions} FINAL WHERE is_expired"
    still_open = f"SELECT session_id FROM {sessions} FINAL WHERE NOT is_expired"
    live = _live_sessions(plan)
    concerned = f"(session_id IN ({live}) OR session_id IN ({ended})) AND session_id NOT IN ({still_open})"
    delete_events = f"{concerned} AND id NOT IN (SELECT id FROM {events} WHERE session_id IN ({ended}))"
    delete_sessions = f"{concerned} AND (session_id, version) NOT IN (SELECT session_id, version FROM {sessions} FINAL)"

    async def count(query: str) -> int:
        (row,) = await rows.select(query)
        return int(row["n"])

    of_ended = f"FROM {events} FINAL WHERE session_id IN ({ended})"
    return Promotion(
        events=events,
        sessions=sessions,
        replayed_sessions=await count(f"SELECT count() AS n FROM ({ended})"),
        open_sessions=await count(f"SELECT count() AS n FROM ({still_open})"),
        removed_sessions=await count(
            f"SELECT count() AS n FROM {LIVE_SESSIONS} FINAL "
            f"WHERE {concerned} AND session_id NOT IN (SELECT session_id FROM {sessions})"
        ),
        replayed_events=await count(f"SELECT count() AS n {of_ended}"),
        new_events=await count(f"SELECT count() AS n {of_ended} AND id NOT IN (SELECT id FROM {LIVE_EVENTS})"),
        removed_events=await count(f"SELECT count() AS n FROM {LIVE_EVENTS} FINAL WHERE {delete_events}"),
        delete_events=delete_events,
        delete_sessions=delete_sessions,
    )


async def promote(rows: Rows, admin: DatasourceAdmin, append: Append, promotion: Promotion) -> None:
    """Append the replayed rows to live, then delete what they replace.

    Raises:
        RetryableError: Tinybird is away or refuses; run it again.
    """
    ended = f"session_id IN (SELECT session_id FROM {promotion.sessions} FINAL WHERE is_expired)"
    pieces = 1 + promotion.replayed_events // COPY_ROWS
    for datasource, live in ((promotion.events, LIVE_EVENTS), (promotion.sessions, LIVE_SESSIONS)):
        for piece in range(pieces):
            where = f"{ended} AND cityHash64(session_id) % {pieces} = {piece}"
            lines = await rows.lines(f"SELECT * FROM {datasource} FINAL WHERE {where}")
            if lines:
                await append(live, lines)
    await admin.delete_rows(LIVE_EVENTS, promotion.delete_events)
    await admin.delete_rows(LIVE_SESSIONS, promotion.delete_sessions)


def _live_sessions(plan: Plan) -> str:
    """The live sessions that began in the replayed stretch of time and have ended."""
    query = (
        f"SELECT session_id FROM {LIVE_SESSIONS} FINAL WHERE is_expired "
        f"AND toUnixTimestamp64Milli(created_at) >= {plan.sessions_from_ms} "
        f"AND toUnixTimestamp64Milli(created_at) < {plan.sessions_to_ms}"
    )
    if plan.request.workspace:
        query += f" AND workspace_id = {quoted(plan.request.workspace)}"
    return query
