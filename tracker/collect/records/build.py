"""From the fields of a request to the source record that goes to Kafka, or to a rejection. Pure: no clock, no IO.

The record is serialised first and then checked as the bytes that it is: by the screen, which lets nearly all pass, or
by the decoder that the processor uses. So what leaves here is what is accepted there. Only the visitor is spliced in
after that: it is ours, and made to fit its fields (``visitors.py``).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError

from topics.codec import MAX_SOURCE_VALUE_BYTES, RejectedRecord, decode_source
from topics.fields import SessionId
from topics.screen import are_valid_events
from tracker.collect.errors import RequestError, from_rejection
from tracker.collect.records.clock_skew import corrected, iso_time, parse_time
from tracker.collect.records.visitor import page_fields, visitor_json

#: The range that the API takes for a session's inactivity gap; a deployment's default outside it widens it.
MIN_TIMEOUT_SECONDS: Final = 300
MAX_TIMEOUT_SECONDS: Final = 1_800

#: Events in one request.
MAX_BATCH_EVENTS: Final = 500

_session_id: Final[TypeAdapter[str]] = TypeAdapter(SessionId)


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A checked source record on its way to the topic, and the ids that its sender is told."""

    key: bytes
    value: bytes
    session_id: str
    event_id: str | None
    cookie: bool  # the session id came from the cookie or was minted, so the cookie is (re)set


class Context(NamedTuple):
    """What a record takes from outside its body: the present, fresh ids, the cookie's session, the key, the visitor."""

    now_ms: int
    new_id: Callable[[], str]
    cookie_session_id: str | None
    #: The write key's; empty: the body may name any.
    workspace_id: str = ""
    project_id: str = ""
    #: What the headers tell of the visitor (``browser_fields``); None: the visitor is not who sends this.
    browser: bytes | None = None
    is_anonymous: bool = False
    #: When the client says that it sent this.
    sent_at: datetime | None = None


class Batch(NamedTuple):
    """What became of each event of a batch, in its order, and the records of those that can be taken."""

    results: list[dict[str, Any]]
    records: list[Outgoing]


def taken_sent_at(fields: dict[str, Any]) -> datetime | None:
    """Take out of a request's fields when the client says that it sent this; None if it says nothing.

    Raises:
        RequestError: it says something that is no time.
    """
    if "sent_at" not in fields:
        return None
    sent_at = parse_time(fields.pop("sent_at"))
    if sent_at is None:
        raise RequestError("invalid", "this is not a valid request", reasons=["sent_at: must be an ISO 8601 time"])
    return sent_at


def event_record(fields: dict[str, Any], context: Context) -> Outgoing:
    """Make the source record of one event from its flat fields, minting what is missing."""
    record = _event(fields, context)
    _check(record, "event")
    return _with_visitor(record, _page(fields), context, "event")


def event_batch(fields: dict[str, Any], context: Context) -> Batch:
    """Make the source records of ``{"batch": [event, ...]}``; each event gets a verdict of its own.

    Events that name no session share one: a page that is left before its first answer has no cookie yet. A session
    hears of its visitor once: from its first event here (docs/decisions/0033).

    Raises:
        RequestError: this is no batch at all.
    """
    events = batch_events(fields)
    if context.cookie_session_id is None:
        context = context._replace(cookie_session_id=context.new_id())
    drafts = [_event_or_error(event, context) for event in events]
    are_valid = are_valid_events([draft.value for draft in drafts if isinstance(draft, Outgoing)])
    told: set[str] = set()
    results: list[dict[str, Any]] = []
    records: list[Outgoing] = []
    for index, (draft, event) in enumerate(zip(drafts, events, strict=True)):
        try:
            if isinstance(draft, RequestError):
                raise draft
            if not are_valid:
                _check(draft, "event")
            record = draft if draft.session_id in told else _with_visitor(draft, _page(event), context, "event")
        except RequestError as error:
            results.append({"index": index, "status": "rejected", "reasons": error.reasons})
            continue
        told.add(record.session_id)
        records.append(record)
        results.append(
            {"index": index, "status": "accepted", "session_id": record.session_id, "event_id": record.event_id}
        )
    return Batch(results, records)


def batch_events(fields: dict[str, Any]) -> list[Any]:
    """Return the events of a batch as they came.

    Raises:
        RequestError: this is no batch, or one of too many.
    """
    events = fields["batch"]
    if not isinstance(events, list) or not events or fields.keys() - {"batch", "sent_at"}:
        reason = "batch: must be a list of events, with nothing beside it but sent_at"
        raise RequestError("invalid", "this is not a valid batch", reasons=[reason])
    if len(events) > MAX_BATCH_EVENTS:
        reason = f"batch: {len(events)} events; the limit is {MAX_BATCH_EVENTS}"
        raise RequestError("oversized", "this batch is too large", reasons=[reason])
    return events


def session_record(fields: dict[str, Any], context: Context, *, default_timeout_seconds: int) -> Outgoing:
    """Make the source record that opens a session or adds to its context.

    ``page_url`` and ``referrer_url`` may say where the visitor has landed. Without them the record tells nothing of
    the visitor: a session keeps what it hears first, and its first event knows the page.
    """
    page_url, referrer_url = fields.pop("page_url", None), fields.pop("referrer_url", None)
    if not page_url:
        context = context._replace(browser=None)
    page = tuple(url if isinstance(url, str) else "" for url in (page_url, referrer_url))
    record = _record("session", fields, context, None)
    _check(record, "session")
    record = _with_visitor(record, page, context, "session")
    timeout_seconds = fields.get("timeout_seconds", default_timeout_seconds)
    low = min(MIN_TIMEOUT_SECONDS, default_timeout_seconds)
    high = max(MAX_TIMEOUT_SECONDS, default_timeout_seconds)
    if not low <= timeout_seconds <= high:
        reason = f"timeout_seconds: must be from {low} to {high}"
        raise RequestError("invalid", "this is not a valid session", reasons=[reason])
    return record


def control_record(type_: Literal["expire", "flush"], session_id: str, now_ms: int, workspace_id: str) -> Outgoing:
    """Make the record that closes a session (the workspace's own, if one is given) or flushes its events."""
    envelope: dict[str, Any] = {"type": type_, "session_id": session_id, "timestamp": iso_time(now_ms)}
    if workspace_id and type_ == "expire":
        envelope["data"] = {"workspace_id": workspace_id}
    return Outgoing(session_id.encode(), orjson.dumps(envelope), session_id, None, False)  # noqa: FBT003 - a field


def session_id_from_path(raw: str) -> str:
    """Return the session id that a percent-encoded path segment names.

    Raises:
        RequestError: if it is not UTF-8, or no session id.
    """
    try:
        return _session_id.validate_python(unquote_to_bytes(raw).decode("utf-8"))
    except (UnicodeError, ValidationError):
        raise RequestError("bad_session_id", "a session id is 1 to 128 visible characters in UTF-8") from None


def _event_or_error(fields: Any, context: Context) -> Outgoing | RequestError:
    try:
        return _event(fields, context)
    except RequestError as error:
        return error


def _event(fields: Any, context: Context) -> Outgoing:
    if not isinstance(fields, dict):
        raise RequestError("invalid", "this is not a valid event", reasons=["event: must be a JSON object"])
    event_id = fields.get("event_id", "")
    if event_id == "":
        event_id = fields["event_id"] = context.new_id()
    return _record("event", fields, context, event_id)


def _page(fields: dict[str, Any]) -> tuple[Any, Any]:
    return fields.get("page_url"), fields.get("referrer_url")


def _record(
    type_: Literal["event", "session"], fields: dict[str, Any], context: Context, event_id: str | None
) -> Outgoing:
    """Put the record around its data and serialise it; it is not checked yet."""
    in_body = "session_id" in fields
    # A null in the body is refused further down, not replaced: somebody meant to name a session.
    session_id = fields.pop("session_id") if in_body else context.cookie_session_id or context.new_id()
    envelope: dict[str, Any] = {"type": type_, "session_id": session_id}
    _set_times(envelope, fields, context)
    envelope["data"] = fields
    if context.workspace_id:
        _claim(fields, "workspace_id", context.workspace_id, type_)
        if context.project_id:
            _claim(fields, "project_id", context.project_id, type_)
    if context.is_anonymous:
        fields.pop("user_id", None)
    try:
        value = orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        raise RequestError("invalid", f"this is not a valid {type_}", reasons=["nested too deeply"]) from None
    # An id that is no string is refused by the decoder; until then it only needs some key.
    key = session_id.encode() if isinstance(session_id, str) else b""
    return Outgoing(key, value, session_id, event_id, not in_body)


def _check(record: Outgoing, type_: Literal["event", "session"]) -> None:
    """Make sure that these bytes are what the processor takes.

    Raises:
        RequestError: they are not.
    """
    if type_ == "event" and are_valid_events([record.value]):
        return
    try:
        decode_source(record.key, record.value)
    except RejectedRecord as rejected:
        raise from_rejection(rejected, type_=type_) from None


def _set_times(envelope: dict[str, Any], fields: dict[str, Any], context: Context) -> None:
    """Set when it happened: the client's own word, unless ``sent_at`` tells how wrong its clock is."""
    timestamp = fields.pop("timestamp", None)
    if timestamp is None:
        envelope["timestamp"] = iso_time(context.now_ms)
        return
    envelope["timestamp"] = timestamp
    if context.sent_at is None:
        return
    time = parse_time(timestamp)
    if time is not None:
        envelope["timestamp"] = corrected(time, sent_at=context.sent_at, received_ms=context.now_ms)
        envelope["client_timestamp"] = timestamp


def _claim(fields: dict[str, Any], name: str, owner: str, type_: str) -> None:
    """Fill in what the write key stands for; a body may repeat it, not contradict it."""
    if (fields.get(name) or owner) != owner:
        raise RequestError("invalid", f"this is not a valid {type_}", reasons=[f"{name}: is not the write key's own"])
    fields[name] = owner


def _with_visitor(record: Outgoing, page: tuple[Any, ...], context: Context, type_: str) -> Outgoing:
    """Splice the visitor into a record that has been checked, so its page and referrer are texts or nothing."""
    if context.browser is None:
        return record
    page_url, referrer_url = page
    visitor = visitor_json(context.browser, page_fields(page_url or "", referrer_url or ""))
    if not visitor:
        return record
    value = b"".join((record.value[:-1], b',"visitor":', visitor, b"}"))
    if len(value) > MAX_SOURCE_VALUE_BYTES:
        detail = f"{len(value)} bytes; the limit is {MAX_SOURCE_VALUE_BYTES}"
        raise RequestError("oversized", f"this {type_} is too large", reasons=[detail])
    return Outgoing(record.key, value, record.session_id, record.event_id, record.cookie)
