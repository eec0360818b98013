"""Promoting a replay: the sessions that it wrote into datasources of their own take the place of the live ones.

Only sessions that have ended are touched, on both sides, and none that is still written. Rows are appended first
and what they replace is deleted afterwards: at no moment is a session missing, but until then readers see both a wrong
event and the one in its place. Every step may be repeated, so a promotion that was interrupted is simply run again.

What the replay can't know is never deleted: live sessions that began before the fold saw the whole log, or after the
log's end as it was when the replay was planned.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tracker.errors import ConfigurationError, NotFoundError
from tracker.replay.generation import Generation
from tracker.replay.plan import Plan
from tracker.tinybird.admin import DatasourceAdmin
from tracker.tinybird.sql import QueryApi, quoted

LIVE_EVENTS: Final = "events_v1"
LIVE_SESSIONS: Final = "session_v1"
#: Rows that are one: by the sorting keys of the two datasources, the session's with its version.
EVENT_KEY: Final = "(workspace_id, session_id, session_event_sequence, id)"
SESSION_KEY: Final = "(workspace_id, session_id, version)"
#: By what a session is known.
SESSION_COLUMNS: Final = "workspace_id, session_id"
SESSION: Final = f"({SESSION_COLUMNS})"
#: The whole row, NULLs as well.
CONTENT: Final = "toString(tuple(*))"
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
    #: Replayed rows that live does not have with the same content.
    new_events: int
    new_sessions: int
    removed_events: int
    #: Live sessions with the id of a replayed one that began outside of the range: they forbid the promotion.
    foreign_sessions: int
    #: The events to delete from live, and the session rows, after the replayed ones have been appended.
    delete_events: str
    delete_sessions: str

    @property
    def changes_nothing(self) -> bool:
        """Whether live holds exactly the replayed sessions and events already."""
        return not (self.new_events or self.new_sessions or self.removed_events or self.removed_sessions)

    def require_own_sessions(self) -> None:
        """Refuse to overwrite sessions of another time.

        Raises:
            ConfigurationError: live has some of the replayed sessions' ids outside of the range.
        """
        if self.foreign_sessions:
            raise ConfigurationError(
                f"{self.foreign_sessions:,} replayed sessions have the ids of live ones that began outside of the "
                "range: the fold began too late to count their keys' sessions, or --from and --to cut them off; "
                "replay a wider range, without --warm-up-seconds"
            )


def promotable(generation: Generation) -> Plan:
    """Return the generation's plan, if it can be promoted.

    Raises:
        ConfigurationError: it is missing, not finished, not in datasources, or does not know all sessions of its range.
    """
    plan = generation.plan
    if plan is None:
        raise NotFoundError(f"there is no generation {generation.name!r}")
    if plan.request.target != "datasource":
        raise ConfigurationError("only a replay into --datasource can be promoted")
    require_whole(plan)
    left = [each.partition for each in plan.partitions if generation.result(each.partition) is None]
    if left:
        raise ConfigurationError(f"partitions {left} are not finished: run the replay again to go on")
    return plan


def require_whole(plan: Plan) -> None:
    """Refuse a replay that saw only a part of the sessions of its range: promoting it would delete the others.

    Raises:
        ConfigurationError: it did; says how to replay instead.
    """
    request = plan.request
    if request.events_datasource == LIVE_EVENTS or request.sessions_datasource == LIVE_SESSIONS:
        raise ConfigurationError("a replay into the live datasources is there already: nothing to promote")
    if request.partitions:
        raise ConfigurationError(
            "a replay of some --partitions can't be promoted: the sessions of the others would be taken for wrong"
        )
    # A session that was open when the fold began may have begun its whole length before.
    first_ms = plan.complete_from_ms + plan.rules.max_length_ms if plan.complete_from_ms else 0
    if plan.sessions_from_ms < first_ms:
        since = (
            "the log no longer has" if request.warm_up_seconds is None else "the warm-up (or the log) does not cover"
        )
        raise ConfigurationError(
            f"{since} the whole of the sessions that began at --from {request.begin}: "
            f"only what began from {_iso(first_ms)} on can be promoted; replay with --from that"
        )


async def look(rows: QueryApi, plan: Plan) -> Promotion:
    """Count what a promotion would do. Reads only.

    Raises:
        RetryableError: Tinybird can't be reached or refuses a query.
    """
    events, sessions = plan.request.events_datasource, plan.request.sessions_datasource
    ended = f"SELECT {SESSION_COLUMNS} FROM {sessions} FINAL WHERE is_expired"
    still_open = f"SELECT {SESSION_COLUMNS} FROM {sessions} FINAL WHERE NOT is_expired"
    of_ended = f"{SESSION} IN ({ended})"
    concerned = f"({SESSION} IN ({_live_sessions(plan)}) OR {of_ended}) AND {SESSION} NOT IN ({still_open})"
    delete_events = f"{concerned} AND {EVENT_KEY} NOT IN (SELECT {EVENT_KEY} FROM {events} WHERE {of_ended})"
    delete_sessions = f"{concerned} AND {SESSION_KEY} NOT IN (SELECT {SESSION_KEY} FROM {sessions} FINAL)"

    async def count(what: str) -> int:
        (row,) = await rows.select(f"SELECT count() AS n FROM {what}")
        return int(row["n"])

    async def new(replayed: str, live: str) -> int:
        """Count rows by their whole content: a fix may change a row's content and not its id."""
        contents = f"SELECT {CONTENT} FROM {live} FINAL WHERE {of_ended}"
        return await count(f"{replayed} FINAL WHERE {of_ended} AND {CONTENT} NOT IN ({contents})")

    return Promotion(
        events=events,
        sessions=sessions,
        replayed_sessions=await count(f"({ended})"),
        open_sessions=await count(f"({still_open})"),
        removed_sessions=await count(
            f"{LIVE_SESSIONS} FINAL WHERE {concerned} AND {SESSION} NOT IN (SELECT {SESSION_COLUMNS} FROM {sessions})"
        ),
        replayed_events=await count(f"{events} FINAL WHERE {of_ended}"),
        new_events=await new(events, LIVE_EVENTS),
        new_sessions=await new(sessions, LIVE_SESSIONS),
        removed_events=await count(f"{LIVE_EVENTS} FINAL WHERE {delete_events}"),
        foreign_sessions=await count(f"{LIVE_SESSIONS} FINAL WHERE {of_ended} AND NOT ({_in_range(plan)})"),
        delete_events=delete_events,
        delete_sessions=delete_sessions,
    )


async def promote(rows: QueryApi, admin: DatasourceAdmin, append: Append, promotion: Promotion) -> None:
    """Append the replayed rows to live, then delete what they replace.

    Raises:
        RetryableError: Tinybird is away or refuses; run it again.
    """
    ended = f"{SESSION} IN (SELECT {SESSION_COLUMNS} FROM {promotion.sessions} FINAL WHERE is_expired)"
    pieces = 1 + promotion.replayed_events // COPY_ROWS
    for datasource, live in ((promotion.events, LIVE_EVENTS), (promotion.sessions, LIVE_SESSIONS)):
        for piece in range(pieces):
            where = f"{ended} AND cityHash64({SESSION_COLUMNS}) % {pieces} = {piece}"
            lines = await rows.lines(f"SELECT * FROM {datasource} FINAL WHERE {where}")
            if lines:
                await append(live, lines)
    await admin.delete_rows(LIVE_EVENTS, promotion.delete_events)
    await admin.delete_rows(LIVE_SESSIONS, promotion.delete_sessions)


def _live_sessions(plan: Plan) -> str:
    """The live sessions that have ended, and that the replay must know if they are right."""
    query = (
        f"SELECT {SESSION_COLUMNS} FROM {LIVE_SESSIONS} FINAL WHERE is_expired AND {_in_range(plan)} "
        f"AND toUnixTimestamp64Milli(created_at) < {plan.complete_to_ms}"
    )
    if plan.request.workspace:
        query += f" AND workspace_id = {quoted(plan.request.workspace)}"
    return query


def _in_range(plan: Plan) -> str:
    at = "toUnixTimestamp64Milli(created_at)"
    return f"{at} >= {plan.sessions_from_ms} AND {at} < {plan.sessions_to_ms}"


def _iso(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):  # the end of time: a partition has lost all it had
        return "a later log"
