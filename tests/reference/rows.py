"""Rows, ids and times of the reference, made with the standard library and one hash."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import orjson
from xxhash import xxh3_128_intdigest

from topics.codec import RejectedRecord, decode_source
from topics.event import EventData
from topics.headers import LogPlace
from topics.session import SessionInput, SessionRow

TRACEPARENT_CHARS = 55
CREATE_TIME = 0
LONGEST_LETTER_KEY_BYTES = 65_536
OUR_IDS = uuid5(NAMESPACE_DNS, "event-tracker")
#: All that a session is told, except when it ends; events have most of it as fields of their own.
CONTEXT_FIELDS = SessionInput.__annotations__.keys() - {"timeout_seconds"}
EVENT_FIELDS = EventData.__annotations__.keys()
#: Context that says whose session it is.
IDENTITY = ("user_id", "visitor_id", "workspace_id", "project_id", "environment", "campaign_environment")
CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id", "click_id_type")
#: What an event row holds where neither the event nor its session says anything.
EVENT_DEFAULTS = EventData.__required_keys__ - {"timestamp", "id", "event_type", "session_event_sequence"}


def event_row(record: Any, session: dict[str, Any], event_id: str) -> dict[str, Any]:
    """An event with its number; context that it lacks is the session's."""
    data = {field: value for field, value in record["data"].items() if value or field not in CONTEXT_FIELDS}
    row = dict.fromkeys(EVENT_DEFAULTS, "") | data
    row["workspace_id"] = row["workspace_id"] or record.get("workspace_id", "")
    row |= {
        field: session["context"][field] for field in session["context"].keys() & EVENT_FIELDS if not row.get(field)
    }
    return row | {
        "id": row_id("event", owner_of(session), session["id"], session["created_ms"], session["events"], event_id),
        "event_id": event_id,
        "session_id": session["id"],
        "session_event_sequence": session["events"],
        "timestamp": text_of(record["timestamp"]),
    }


def session_row(key: bytes, session: dict[str, Any], offset: int, stage: int) -> dict[str, Any]:
    """A session as it is after the record at this offset."""
    row = dict.fromkeys(SessionRow.__annotations__, "") | {"is_bot": False}
    return row | session["context"] | session["visitor"] | {
        "touches": orjson.dumps([{"at": text_of_ms(at)} | campaign for at, campaign in session["touches"]]).decode(),
        "session_id": session["id"],
        "session_key": key.decode(),
        "created_at": text_of_ms(session["created_ms"]),
        "last_activity_at": text_of_ms(session["active_ms"]),
        "closed_at": text_of_ms(session["closed_ms"]) if session["reason"] else None,
        "close_reason": session["reason"],
        "is_expired": bool(session["reason"]),
        "event_count": session["events"],
        "session_timeout_seconds": session["timeout_ms"] // 1000,
        "version": 4 * offset + stage,
    }  # fmt: skip


def content_of(data: Any) -> dict[str, Any]:
    """By what an event is known, its id included. The workspace is no part of it: it may be named in the envelope.

    A text that is empty says as much as one that is not there, where a row may not lack it.
    """
    return {
        name: value for name, value in data.items() if name != "workspace_id" and (value or name not in EVENT_DEFAULTS)
    }


def is_repeated(data: Any, session: dict[str, Any], now: int, rules: Any) -> bool:
    """Whether a session has had this event within the window, which is told in whole seconds."""
    data, window = content_of(data), rules.duplicate_window_ms // 1000
    return bool(data.get("event_id")) and any(
        data == seen and now // 1000 - came <= window for seen, came in session["remembered"]
    )


def told_of(record: Any, headers: Any) -> dict[str, bytes]:
    """What a numbered event's headers tell of its record."""
    told = {}
    counted = headers.get("retry-count") or b"0"
    if retries := record.get("retry_count") or (re.fullmatch(rb"[0-9]{1,7}", counted) and int(counted)):
        told["retry-count"] = b"%d" % retries
    if len(headers.get("traceparent") or b"") == TRACEPARENT_CHARS:
        told["traceparent"] = headers["traceparent"]
    return told


def context_of(data: Any) -> dict[str, str]:
    """The context that a record gives; an empty value gives nothing."""
    return {field: data[field] for field in CONTEXT_FIELDS & data.keys() if data[field]}


def visitor_of(record: Any) -> dict[str, Any]:
    """What a record tells of its visitor; an empty value tells nothing."""
    return {field: value for field, value in record.get("visitor", {}).items() if value}


def visitor_id_of(record: Any) -> dict[str, str]:
    """Who a record says it is across sessions; an empty id says nothing."""
    return {"visitor_id": record["visitor_id"]} if record.get("visitor_id") else {}


def campaign_of(visitor: dict[str, Any]) -> dict[str, str]:
    """The campaign that brought a visitor, in the order in which its parts are told."""
    return {name: visitor[name] for name in CAMPAIGN if visitor.get(name)}


def latest_campaign(session: dict[str, Any]) -> dict[str, str] | None:
    """The campaign by which a session's visitor came last."""
    return session["touches"][-1][1] if session["touches"] else None


def is_split(session: Any, record: Any, rules: Any) -> bool:
    """Whether a record comes by another campaign than the open session's visitor did, and that begins a session."""
    if rules.campaign_change == "keep" or record.get("passive") or record.get("open_only"):
        return False
    campaign = campaign_of(visitor_of(record))
    return bool(campaign) and bool(session["visitor"]) and campaign != latest_campaign(session)


def learns(session: dict[str, Any], record: Any, now: int) -> bool:
    """A session keeps the first visitor and id; of all campaigns that differ the first and the latest nine."""
    visitor = visitor_of(record)
    campaign, is_told = campaign_of(visitor), False
    if record.get("visitor_id") and not session["context"].get("visitor_id"):
        session["context"] = session["context"] | visitor_id_of(record)
        is_told = True
    if campaign and campaign != latest_campaign(session):
        touches = [*session["touches"], (now, campaign)]
        session["touches"] = touches[:1] + touches[1:][-9:]
        is_told = True
    if visitor and not session["visitor"]:
        session["visitor"] = visitor
        is_told = True
    return is_told


def owner_of(session: dict[str, Any]) -> str:
    """The workspace that a session belongs to; empty if none has been named, or there is no session."""
    return session.get("context", {}).get("workspace_id", "")


def inherited(stub: dict[str, Any], rules: Any) -> dict[str, str]:
    """The context that a session has from the one before it: by policy, or less where that would fill it at once."""
    context = dict(stub.get("context", {}))
    if context.get("consent_analytics") == "denied":
        context.pop("visitor_id", None)
    identity = {name: value for name, value in context.items() if name in IDENTITY}
    if stub.get("reason") == "campaign":  # the rest is of the campaign before
        context = identity
    workspace = {name: value for name, value in context.items() if name == "workspace_id"}
    for kept in {"all": [context, identity], "identity": [identity], "none": []}[rules.renewal_context]:
        if sum(len(value.encode()) for value in kept.values()) < rules.max_context_bytes:
            return dict(kept)
    return workspace


def derived_id(*parts: object) -> str:
    """UUIDv5 of the parts, a line each."""
    return str(uuid5(OUR_IDS, "\n".join(map(str, parts))))


def row_id(*parts: object) -> str:
    """UUIDv8: XXH3-128 of the parts, a line each, under the version and the variant."""
    bits = xxh3_128_intdigest("\n".join(map(str, parts)).encode())
    bits = bits & ~(0xF << 76) | (8 << 76)
    return str(UUID(int=bits & ~(0x3 << 62) | (2 << 62)))


def uuid7_birth_ms(key: str) -> int | None:
    """When a key was made, if it is a UUIDv7."""
    try:
        found = UUID(key)
    except ValueError:
        return None
    return found.int >> 80 if found.version == 7 and str(found) == key.lower() else None


def judged(source: Any, *, is_import: bool) -> tuple[Any, str]:
    """What a record says, or why it can't be taken."""
    if source.timestamp_type == CREATE_TIME and not is_import:
        return None, "untimed"
    if unread := [name for name, _ in source.headers if name in {"undecodable", "skipped"}]:
        return None, unread[0]
    try:
        return decode_source(source.key, source.value), ""
    except RejectedRecord as rejected:
        return None, rejected.reason


def letter_key_of(source: Any) -> bytes | None:
    """The key of a letter: none where it is too long."""
    return source.key if len(source.key or b"") <= LONGEST_LETTER_KEY_BYTES else None


def origin_of(source: Any) -> LogPlace | None:
    """Where a record stood before it was forwarded: if the seal says that it was."""
    headers = dict(source.headers)
    found = re.fullmatch(rb"(\d+):(\d+)", headers.get("forwarded-from") or b"")
    if found is None:
        return None
    person = b"tracker forwards"
    secret = hashlib.blake2b(b"", person=person).digest()
    sealed = found[0] + b" %d " % len(source.key) + source.key + source.value
    seal = hashlib.blake2b(sealed, digest_size=16, key=secret, person=person).digest()
    return LogPlace(int(found[1]), int(found[2])) if headers.get("forward-seal") == seal else None


def text_of(time: datetime) -> str:
    """ISO 8601 in UTC; a time without an offset is in UTC already."""
    aware = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return aware.isoformat().replace("+00:00", "Z")


def text_of_ms(milliseconds: int) -> str:
    """The same, of milliseconds since the epoch."""
    return text_of(datetime.fromtimestamp(milliseconds / 1000, UTC))
