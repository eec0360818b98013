"""The session rules as docs/sessions.md states them, once more and independent of ``tracker.sessions``.

Plain dictionaries, slow, and nothing clever: no index of deadlines, no fingerprints, no chunks, no encoding. What the
fold and this model make of a log must be equal; where they are not, docs/sessions.md decides, and says it better from
then on. The model takes each record once and in order, so it knows nothing of crashes, recoveries and repeats.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.reference.rows import (
    campaign_of,
    content_of,
    context_of,
    derived_id,
    event_row,
    inherited,
    is_repeated,
    is_split,
    judged,
    learns,
    letter_key_of,
    origin_of,
    owner_of,
    row_id,
    session_row,
    told_of,
    uuid7_birth_ms,
    visitor_id_of,
    visitor_of,
)
from tests.reference.usage import UsageModel
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS

#: A session's key, and its workspace where that is not the key's home.
Row = tuple[bytes, str]


class Made(NamedTuple):
    """One output. A flush has no row; of a dead letter, the row has only its reason and its record's offset."""

    topic: str
    key: bytes | None
    row: dict[str, Any] | None
    offset: int
    nth: int
    headers: dict[str, bytes]


class Model:
    """One partition's log. ``made`` and ``forwarded`` grow with each record; ``sessions`` is what is remembered.

    ``forwarded`` holds, for each record that goes to another partition, its offset here and that partition.
    """

    def __init__(self, rules: Any, partition: int = 0, home_of: Callable[[bytes], int] | None = None) -> None:
        self.rules = rules
        self.partition = partition
        self.home_of = home_of or (lambda _: partition)
        self.now = 0
        self.sessions: dict[Row, dict[str, Any]] = {}
        self.taken: dict[int, int] = {}
        self.made: list[Made] = []
        self.forwarded: list[tuple[int, int]] = []
        self.usage = UsageModel(rules, partition, lambda *made: self.made.append(Made(*made)))
        self._offset, self._nth = -1, 0
        #: No deadline lies before this; without it, a long log would take hours.
        self._soonest = 0

    def take(self, records: Iterable[Any]) -> "Model":
        """Take records in log order: first time passes, then the record says what it has to say."""
        for source in records:
            self._offset, self._nth = source.offset, 0
            record, flaw = judged(source, is_import=self.rules.keys_are_used)
            if source.timestamp > self.now and flaw != "untimed":
                self.now = source.timestamp
                self._time_passes()
            self.usage.begin(source, self.now)
            if flaw:
                self._reject(source, flaw)
            elif record["type"] != "tick":
                self._keyed(source, record)
        return self

    def _keyed(self, source: Any, record: Any) -> None:
        origin = origin_of(source)
        home = self.home_of(source.key)
        row, workspace = self._row(source.key, record)
        if row not in self.sessions and home != self.partition:
            if origin is None:
                self.forwarded.append((source.offset, home))
            else:
                self._reject(source, "misrouted")
            return
        if origin is not None:
            if origin.offset <= self.taken.get(origin.partition, -1):
                return
            self.taken[origin.partition] = origin.offset
        match record["type"]:
            case "event":
                self._event(row, workspace, record, origin or (self.partition, source.offset), dict(source.headers))
            case "session":
                self._session(row, workspace, record)
            case "expire":
                self._expire(row, workspace)
            case "flush":
                self._flush(source.key)

    def _row(self, key: bytes, record: Any) -> tuple[Row, str]:
        """Where a record's session is remembered, and the workspace that the record names."""
        workspace = record.get("workspace_id") or record.get("data", {}).get("workspace_id", "")
        home = owner_of(self.sessions.get((key, ""), {}))
        is_at_home = workspace in ("", home) or (not home and (key, workspace) not in self.sessions)
        return (key, "" if is_at_home else workspace), workspace

    def _event(self, row: Row, workspace: str, record: Any, place: tuple[int, int], headers: Any) -> None:
        data, session = record["data"], self.sessions.get(row)
        if session and is_repeated(data, session, self.now, self.rules):
            self.usage.note(workspace or owner_of(session), "duplicates")
            return
        event_id = data.get("event_id") or row_id("event_id", record["session_id"], *place)
        if not self._is_open(session, workspace) or is_split(session, record, self.rules):
            if not record.get("passive"):
                session = self._open(row, workspace, record, event_id)
            elif not self._takes_late(session, workspace):
                return
        elif learns(session, record, self.now):
            self._session_row(row, session)
        session["events"] += 1
        self.usage.note(workspace or owner_of(session), "events")
        self.usage.note_bytes(workspace or owner_of(session))
        if not record.get("passive"):
            session["active_ms"] = self.now
        session["remembered"].append((content_of(data), self.now // 1000))
        self._make(SEQUENCED.suffix, row[0], event_row(record, session, event_id), told_of(record, headers))
        if session["reason"]:
            self._session_row(row, session, stage=2)
        self._close_if_full(row, session)

    def _session(self, row: Row, workspace: str, record: Any) -> None:
        session = self.sessions.get(row)
        if not self._is_open(session, workspace) or is_split(session, record, self.rules):
            session = self._open(row, workspace, record, "")
        else:
            before = dict(session)
            if not record.get("open_only"):
                session["context"] = session["context"] | context_of(record["data"])
                session["timeout_ms"] = record["data"].get("timeout_seconds", 0) * 1000 or session["timeout_ms"]
                learns(session, record, self.now)
            is_changed, session["active_ms"] = session != before, self.now
            if is_changed:
                self._session_row(row, session)
        self.usage.note_bytes(owner_of(session))
        self._close_if_full(row, session)

    def _expire(self, row: Row, workspace: str) -> None:
        session = self.sessions.get(row)
        if session and not session["reason"] and workspace in ("", owner_of(session)):
            self._close(row, session, "expired", self.now)
            self._flush(row[0])

    def _flush(self, key: bytes) -> None:
        self._make(SEQUENCED.suffix, key, None, {"flush": b"1"})
        self._make(SESSIONS.suffix, key, None, {"flush": b"1"})

    def _is_open(self, session: Any, workspace: str) -> bool:
        """Whether the session takes records of this workspace. One of no workspace ends where the first is named."""
        return bool(session) and not session["reason"] and not (workspace and not owner_of(session))

    def _takes_late(self, session: Any, workspace: str) -> bool:
        """Whether a closed session takes a passive event."""
        if not session or not session["reason"] or workspace not in ("", owner_of(session)):
            return False
        is_in_time = self.now <= session["closed_ms"] + self.rules.passive_grace_ms
        return is_in_time and session["events"] < self.rules.max_events

    def _open(self, row: Row, workspace: str, record: Any, first_event_id: str) -> dict[str, Any]:
        name, stub = row[0].decode(), self.sessions.get(row, {})
        if stub and not stub["reason"]:
            self._close(row, stub, "campaign" if owner_of(stub) or not workspace else "claimed", self.now)
        visitor = visitor_of(record) or (stub["visitor"] if stub.get("reason") in ("cap", "claimed") else {})
        context = inherited(stub, self.rules) | context_of(record["data"]) | visitor_id_of(record)
        context |= {"workspace_id": workspace} if workspace else {}
        owner = context.get("workspace_id", "")
        born_ms = uuid7_birth_ms(name)
        is_old = born_ms is not None and born_ms < self.now - self.rules.closed_stub_retention_ms
        is_old = is_old or self.rules.keys_are_used
        ordinal = stub["ordinal"] + 1 if stub and owner_of(stub) == owner else int(is_old)
        self.sessions[row] = session = {
            "id": derived_id("session", owner, name, ordinal, self.now, first_event_id) if ordinal else name,
            "ordinal": ordinal,
            "created_ms": self.now,
            "active_ms": self.now,
            "timeout_ms": record["data"].get("timeout_seconds", 0) * 1000 or self.rules.timeout_ms,
            "events": 0,
            "context": context,
            "visitor": visitor,
            "touches": [(self.now, campaign_of(visitor))] if campaign_of(visitor) else [],
            "remembered": stub.get("remembered", []),
            "closed_ms": 0,
            "reason": "",
        }
        self.usage.note(owner, "sessions")
        self._session_row(row, session)
        return session

    def _time_passes(self) -> None:
        """What is due happens in the order of the deadlines: an open session closes, a stub is forgotten."""
        while self.sessions and self._soonest < self.now:
            deadline, row = min((self._deadline(session), row) for row, session in self.sessions.items())
            if deadline >= self.now:
                self._soonest = deadline
                return
            session = self.sessions[row]
            if session["reason"]:
                del self.sessions[row]
            else:
                is_idle = deadline == session["active_ms"] + session["timeout_ms"]
                self._close(row, session, "timeout" if is_idle else "max_length", deadline)
            self._soonest = min(map(self._deadline, self.sessions.values()), default=self.now)

    def _deadline(self, session: dict[str, Any]) -> int:
        if session["reason"]:
            return session["closed_ms"] + self.rules.closed_stub_retention_ms
        return min(session["active_ms"] + session["timeout_ms"], session["created_ms"] + self.rules.max_length_ms)

    def _close_if_full(self, row: Row, session: dict[str, Any]) -> None:
        if session["reason"]:
            return
        given = [*session["context"].values(), *session["visitor"].values()]
        given_bytes = sum(len(str(value).encode()) for value in given)
        if session["events"] >= self.rules.max_events or given_bytes >= self.rules.max_context_bytes:
            self._close(row, session, "cap", self.now)

    def _close(self, row: Row, session: dict[str, Any], reason: str, closed_ms: int) -> None:
        session["reason"], session["closed_ms"] = reason, closed_ms
        self._session_row(row, session, stage=1)

    def _session_row(self, row: Row, session: dict[str, Any], stage: int = 0) -> None:
        """Whatever makes a deadline sooner gives a row, too."""
        self._make(SESSIONS.suffix, row[0], session_row(row[0], session, self._offset, stage))
        self._soonest = min(self._soonest, self._deadline(session))

    def _reject(self, source: Any, reason: str) -> None:
        self.usage.note_rejected()
        self._make(DEAD_LETTERS.suffix, letter_key_of(source), {"reason": reason, "source_offset": source.offset})

    def _make(self, topic: str, key: bytes | None, row: Any, headers: dict[str, bytes] | None = None) -> None:
        self.made.append(Made(topic, key, row, self._offset, self._nth, headers or {}))
        self._nth += 1
