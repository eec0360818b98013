"""The session rules as docs/sessions.md states them, once more and independent of ``tracker.sessions``.

Plain dictionaries, slow, and nothing clever: no index of deadlines, no fingerprints, no chunks, no encoding. What the
fold and this model make of a log must be equal; where they are not, docs/sessions.md decides, and says it better from
then on. The model takes each record once and in order, so it knows nothing of crashes, recoveries and repeats.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.reference.rows import context_of, derived_id, event_row, origin_of, session_row, uuid7_birth_ms, visitor_of
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS
from topics.codec import RejectedRecord, decode_source

TRACEPARENT_CHARS = 55


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
        self.sessions: dict[bytes, dict[str, Any]] = {}
        self.taken: dict[int, int] = {}
        self.made: list[Made] = []
        self.forwarded: list[tuple[int, int]] = []
        self._offset, self._nth = -1, 0
        #: No deadline lies before this; without it, a long log would take hours.
        self._soonest = 0

    def take(self, records: Iterable[Any]) -> "Model":
        """Take records in log order: first time passes, then the record says what it has to say."""
        for source in records:
            self._offset, self._nth = source.offset, 0
            if source.timestamp > self.now:
                self.now = source.timestamp
                self._time_passes()
            try:
                record = decode_source(source.key, source.value)
            except RejectedRecord as rejected:
                self._reject(source, rejected.reason)
            else:
                if record["type"] != "tick":
                    self._keyed(source, record)
        return self

    def _keyed(self, source: Any, record: Any) -> None:
        origin = origin_of(source.headers)
        home = self.home_of(source.key)
        if source.key not in self.sessions and home != self.partition:
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
                place = origin or (self.partition, source.offset)
                self._event(source.key, record, place, dict(source.headers))
            case "session":
                self._session(source.key, record)
            case "expire":
                self._expire(source.key, record)
            case "flush":
                self._flush(source.key)

    def _event(self, key: bytes, record: Any, place: tuple[int, int], headers: dict[str, bytes]) -> None:
        event_id = record["data"].get("event_id") or derived_id("event_id", record["session_id"], *place)
        if event_id in self.sessions.get(key, {}).get("remembered", []):
            return
        session, visitor = self._open_one(key), visitor_of(record)
        if session is None:
            session = self._open(key, record, event_id)
        elif visitor and not session["visitor"]:
            session["visitor"] = visitor
            self._session_row(key, session)
        session["events"] += 1
        session["active_ms"] = self.now
        session["remembered"] = [*session["remembered"], event_id][-self.rules.duplicate_window_events :]
        told = {}
        if retries := record.get("retry_count") or int(headers.get("retry-count", b"0")):
            told["retry-count"] = b"%d" % retries
        if len(headers.get("traceparent", b"")) == TRACEPARENT_CHARS:
            told["traceparent"] = headers["traceparent"]
        self._make(SEQUENCED.suffix, key, event_row(record, session, event_id), told)
        self._close_if_full(key, session)

    def _session(self, key: bytes, record: Any) -> None:
        session = self._open_one(key)
        if session is None:
            session = self._open(key, record, "")
        else:
            before = dict(session)
            session["context"] = session["context"] | context_of(record["data"])
            session["timeout_ms"] = record["data"].get("timeout_seconds", 0) * 1000 or session["timeout_ms"]
            session["visitor"] = session["visitor"] or visitor_of(record)
            is_changed = session != before
            session["active_ms"] = self.now
            if is_changed:
                self._session_row(key, session)
        self._close_if_full(key, session)

    def _expire(self, key: bytes, record: Any) -> None:
        session = self._open_one(key)
        if session is None:
            return
        workspace = record.get("data", {}).get("workspace_id")
        if workspace is None or workspace == session["context"].get("workspace_id"):
            self._close(key, session, "expired", self.now)
            self._flush(key)

    def _flush(self, key: bytes) -> None:
        self._make(SEQUENCED.suffix, key, None, {"flush": b"1"})
        self._make(SESSIONS.suffix, key, None, {"flush": b"1"})

    def _open_one(self, key: bytes) -> dict[str, Any] | None:
        session = self.sessions.get(key)
        return session if session and not session["reason"] else None

    def _open(self, key: bytes, record: Any, first_event_id: str) -> dict[str, Any]:
        name, stub = key.decode(), self.sessions.get(key, {})
        born_ms = uuid7_birth_ms(name)
        is_old = born_ms is not None and born_ms < self.now - self.rules.closed_stub_retention_ms
        ordinal = stub["ordinal"] + 1 if stub else int(is_old)
        self.sessions[key] = session = {
            "id": derived_id("session", name, ordinal, self.now, first_event_id) if ordinal else name,
            "ordinal": ordinal,
            "created_ms": self.now,
            "active_ms": self.now,
            "timeout_ms": record["data"].get("timeout_seconds", 0) * 1000 or self.rules.timeout_ms,
            "events": 0,
            "context": context_of(record["data"]),
            "visitor": visitor_of(record) or stub.get("visitor", {}),
            "remembered": stub.get("remembered", []),
            "closed_ms": 0,
            "reason": "",
        }
        self._session_row(key, session)
        return session

    def _time_passes(self) -> None:
        """Each session goes one step: an open one that is due closes, a stub that is due is forgotten."""
        if self._soonest >= self.now:
            return
        due = sorted((self._deadline(session), key) for key, session in self.sessions.items())
        for deadline, key in due:
            session = self.sessions[key]
            if deadline >= self.now:
                continue
            if session["reason"]:
                del self.sessions[key]
            else:
                is_idle = deadline == session["active_ms"] + session["timeout_ms"]
                self._close(key, session, "timeout" if is_idle else "max_length", deadline)
        self._soonest = min(map(self._deadline, self.sessions.values()), default=self.now)

    def _deadline(self, session: dict[str, Any]) -> int:
        if session["reason"]:
            return session["closed_ms"] + self.rules.closed_stub_retention_ms
        return min(session["active_ms"] + session["timeout_ms"], session["created_ms"] + self.rules.max_length_ms)

    def _close_if_full(self, key: bytes, session: dict[str, Any]) -> None:
        given = [*session["context"].values(), *session["visitor"].values()]
        given_bytes = sum(len(str(value).encode()) for value in given)
        if session["events"] >= self.rules.max_events or given_bytes >= self.rules.max_context_bytes:
            self._close(key, session, "cap", self.now)

    def _close(self, key: bytes, session: dict[str, Any], reason: str, closed_ms: int) -> None:
        session["reason"], session["closed_ms"] = reason, closed_ms
        self._session_row(key, session)
        if reason != "cap":
            session["visitor"] = {}
        if reason == "timeout":
            session["remembered"] = []

    def _session_row(self, key: bytes, session: dict[str, Any]) -> None:
        """Whatever makes a deadline sooner gives a row, too."""
        self._make(SESSIONS.suffix, key, session_row(key, session, self._offset))
        self._soonest = min(self._soonest, self._deadline(session))

    def _reject(self, source: Any, reason: str) -> None:
        self._make(DEAD_LETTERS.suffix, source.key, {"reason": reason, "source_offset": source.offset})

    def _make(self, topic: str, key: bytes | None, row: Any, headers: dict[str, bytes] | None = None) -> None:
        self.made.append(Made(topic, key, row, self._offset, self._nth, headers or {}))
        self._nth += 1
