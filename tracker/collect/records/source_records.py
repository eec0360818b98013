"""From the fields of a request to source records for Kafka. Pure: no clock, no IO.

A record is serialised first and then checked as bytes, by the same types that the processor decodes it with
(``topics``): most by a fast check that only says yes, the others by the decoder. So a record that is accepted here is
accepted there. Only the visitor is added after the check. We make it ourselves, to fit its fields.
"""

from typing import Any, Final, Literal

import msgspec
import orjson

from topics.codec import MAX_SOURCE_VALUE_BYTES, RejectedRecord, decode_source
from topics.metadata import UnfitObject, canonical
from topics.records import are_valid_events
from topics.schemas import SchemaId
from tracker.collect.bug_ids import has_bug, is_bug
from tracker.collect.errors import RequestError
from tracker.collect.records.context import RecordContext
from tracker.collect.records.event_time import is_storable, iso_time, parse_time

_ControlType = Literal["expire", "flush"]


class EncodedRecord(msgspec.Struct, gc=False):
    """A source record as bytes, with the ids that its sender is told."""

    key: bytes
    value: bytes
    session_id: str
    event_id: str | None
    #: The body named no session, so the response may set or prolong the session cookie.
    sets_cookie: bool


def take_sent_at(fields: dict[str, Any]) -> int | None:
    """Take ``sent_at``, the client's clock when it sent the request, out of the fields; None if it is not there.

    Returns:
        Milliseconds since the epoch.

    Raises:
        RequestError: it is not a time.
    """
    if "sent_at" not in fields:
        return None
    sent_at_ms = parse_time(fields.pop("sent_at"))
    if sent_at_ms is None:
        raise RequestError("invalid", "this is not a valid request", reasons=["sent_at: must be an ISO 8601 time"])
    return sent_at_ms


def event_record(fields: dict[str, Any], context: RecordContext) -> EncodedRecord:
    """Make the record of one event from its flat fields. Ids that are missing are minted."""
    record = unchecked_event(fields, context)
    check(record, "event")
    add_visitor(record, event_page(fields), context, "event")
    return record


def session_record(fields: dict[str, Any], context: RecordContext) -> EncodedRecord:
    """Make the record that opens a session or adds to its context.

    ``page_url`` and ``referrer_url`` may say where the visitor has landed. Without them the record has no visitor: a
    session keeps the first visitor that it is told, and its first event knows the page.
    """
    if context.rules.personal_data is not None:
        context.rules.personal_data.clean(fields)
    page_url, referrer_url = fields.pop("page_url", None), fields.pop("referrer_url", None)
    if not page_url:
        context = msgspec.structs.replace(context, browser=None)
    page = tuple(url if isinstance(url, str) else "" for url in (page_url, referrer_url))
    record = _unchecked("session", fields, context, None)
    check(record, "session")
    add_visitor(record, page, context, "session")
    low, high = context.rules.timeout_range_seconds
    if not low <= fields.get("timeout_seconds", low) <= high:
        reason = f"timeout_seconds: must be from {low} to {high}"
        raise RequestError("invalid", "this is not a valid session", reasons=[reason])
    return record


def control_record(type_: _ControlType, session_id: str, now_ms: int, workspace_id: str) -> EncodedRecord:
    """Make the record that closes a session or flushes it: the workspace's own session, where one is given."""
    envelope: dict[str, Any] = {"type": type_, "session_id": session_id, "timestamp": iso_time(now_ms)}
    if workspace_id:
        envelope["workspace_id"] = workspace_id
    return EncodedRecord(session_id.encode(), orjson.dumps(envelope), session_id, None, sets_cookie=False)


def unchecked_event(fields: Any, context: RecordContext) -> EncodedRecord:
    """Serialise an event without checking it.

    Raises:
        RequestError: it can't be serialised, or it contradicts the write key.
    """
    if not isinstance(fields, dict):
        raise RequestError("invalid", "this is not a valid event", reasons=["event: must be a JSON object"])
    if context.rules.personal_data is not None:
        context.rules.personal_data.clean(fields)
    if fields.get("metadata").__class__ is dict:
        fields["metadata"] = _metadata_text(fields["metadata"])
    if "schema" in fields:
        _check_schema(fields, context)
    event_id = fields.get("event_id", "")
    if event_id == "":
        event_id = fields["event_id"] = context.new_id()
    return _unchecked("event", fields, context, event_id)


def _metadata_text(metadata: dict[str, Any]) -> str:
    # The processor would do the same; records with texts are decoded faster, and a client is told at once.
    try:
        return canonical(metadata)
    except UnfitObject as unfit:
        raise RequestError("invalid", "this is not a valid event", reasons=[f"metadata: {unfit}"]) from None


def _check_schema(fields: dict[str, Any], context: RecordContext) -> None:
    """Check an event of the user's own type against the schema that it names. About 2 us."""
    schema = SchemaId(fields.get("event_type", ""), fields["schema"])
    try:
        reasons = context.rules.schemas.faults(schema, fields.get("properties"))
    except RejectedRecord as rejected:
        reasons = [f"schema: {rejected.detail}"]
    except (TypeError, ValueError):  # no text, or properties that JSON can't hold
        reasons = ["event_type, schema: must be texts, and properties an object"]
    if reasons:
        raise RequestError("invalid", "this is not a valid event", reasons=reasons)


def event_page(fields: dict[str, Any]) -> tuple[Any, Any]:
    """Return the page and the referrer of an event."""
    return fields.get("page_url"), fields.get("referrer_url")


def check(record: EncodedRecord, type_: Literal["event", "session"]) -> None:
    """Make sure that the processor will take these bytes.

    Raises:
        RequestError: it will not.
    """
    if type_ == "event" and are_valid_events([record.value]):
        return
    try:
        decode_source(record.key, record.value)
    except RejectedRecord as rejected:
        raise _rejection(rejected, type_) from None


def add_visitor(record: EncodedRecord, page: tuple[Any, ...], context: RecordContext, type_: str) -> None:
    """Add the visitor to a record that has been checked: its page and its referrer are texts, or missing.

    Raises:
        RequestError: ``oversized``.
    """
    if context.browser is None:
        return
    page_url, referrer_url = page
    of_page = context.rules.page_reader.fields(page_url or "", referrer_url or "", context.is_anonymous)
    of_browser = context.browser
    if not of_page and not of_browser:
        return
    comma = b"," if of_page and of_browser else b""
    value = b"".join((record.value[:-1], b',"visitor":{', of_browser, comma, of_page, b"}}"))
    if len(value) > MAX_SOURCE_VALUE_BYTES:
        detail = f"{len(value)} bytes; the limit is {MAX_SOURCE_VALUE_BYTES}"
        raise RequestError("oversized", f"this {type_} is too large", reasons=[detail])
    record.value = value


def _unchecked(
    type_: Literal["event", "session"], fields: dict[str, Any], context: RecordContext, event_id: str | None
) -> EncodedRecord:
    """Put the envelope around the fields and serialise both. About 1.5 us: it runs for each event of each batch."""
    in_body = "session_id" in fields
    # A null in the body is not replaced: the client meant to name a session. The check refuses it.
    session_id = fields.pop("session_id") if in_body else context.offered_session_id or context.new_id()
    if has_bug(session_id, event_id or "", fields.get("user_id") or ""):
        raise _bug_ids(type_, session_id=session_id, event_id=event_id, user_id=fields.get("user_id"))
    envelope: dict[str, Any] = {"type": type_, "session_id": session_id}
    if context.visitor_id or "visitor_id" in fields:
        _set_visitor_id(envelope, fields, context)
    _set_times(envelope, fields, context)
    if type_ == "session":
        if not context.owns(session_id):
            envelope["open_only"] = True
    else:
        if "schema" in fields:
            envelope["schema"] = fields.pop("schema")
        if "passive" in fields:
            envelope["passive"] = fields.pop("passive")
    if context.workspace_id:
        _set_owner(envelope, fields, context)
    envelope["data"] = fields
    if context.is_anonymous:
        fields.pop("user_id", None)
    try:
        value = orjson.dumps(envelope)
    except orjson.JSONEncodeError:
        raise RequestError("invalid", f"this is not a valid {type_}", reasons=["nested too deeply"]) from None
    # The check refuses an id that is not a text; until then the record only needs some key.
    key = session_id.encode() if isinstance(session_id, str) else b""
    return EncodedRecord(key, value, session_id, event_id, sets_cookie=not in_body)


def _set_visitor_id(envelope: dict[str, Any], fields: dict[str, Any], context: RecordContext) -> None:
    """Set whose it is across sessions: what the body says, or else the cookie."""
    visitor_id = fields.pop("visitor_id", "")
    if is_bug(visitor_id):
        raise _bug_ids(envelope["type"], visitor_id=visitor_id)
    if visitor_id == "":
        visitor_id = context.visitor_id
    if visitor_id != "" and not context.is_anonymous:
        envelope["visitor_id"] = visitor_id


def _set_times(envelope: dict[str, Any], fields: dict[str, Any], context: RecordContext) -> None:
    """Set when it happened. If that differs from the client's time, keep the client's time in a second field."""
    timestamp = fields.pop("timestamp", None)
    if timestamp is None:
        envelope["timestamp"] = iso_time(context.now_ms)
        return
    time_ms = parse_time(timestamp)
    if time_ms is None:
        envelope["timestamp"] = timestamp  # the check refuses it
    elif context.sent_at_ms is None:
        clamped = envelope["timestamp"] = context.rules.time_limits.clamped(timestamp, time_ms, context.now_ms)
        if clamped is not timestamp:
            envelope["client_timestamp"] = timestamp
    else:
        envelope["timestamp"] = context.rules.time_limits.corrected(time_ms, context.sent_at_ms, context.now_ms)
        if is_storable(time_ms):  # the clock of a device without a battery may be in 1970
            envelope["client_timestamp"] = timestamp


def _set_owner(envelope: dict[str, Any], fields: dict[str, Any], context: RecordContext) -> None:
    """Set the write key's workspace and project. A body may only repeat them."""
    workspace_id, project_id = context.workspace_id, context.project_id
    given = fields.pop("workspace_id", None)
    if given and given != workspace_id:
        raise _not_own("workspace_id", envelope["type"])
    envelope["workspace_id"] = workspace_id
    if project_id:
        given = fields.get("project_id")
        if given and given != project_id:
            raise _not_own("project_id", envelope["type"])
        fields["project_id"] = project_id


def _not_own(name: str, type_: str) -> RequestError:
    return RequestError("invalid", f"this is not a valid {type_}", reasons=[f"{name}: is not the write key's own"])


def _bug_ids(type_: str, **ids: Any) -> RequestError:
    """Return the error that names the ids which a program has made by mistake."""
    reasons = [
        f"{name}: is no id but a mistake of the sender, such as a missing value" for name in ids if is_bug(ids[name])
    ]
    return RequestError("invalid", f"this is not a valid {type_}", reasons=reasons)


#: The codec names a field by its place in the record (``event.data.form_id``); clients know it as ``form_id``.
_PLACES: Final = {"event": ("event.data.", "event.", "data."), "session": ("session.data.", "session.")}


def _rejection(rejected: RejectedRecord, type_: Literal["event", "session"]) -> RequestError:
    """Return the codec's verdict on a record in terms of the request's flat fields."""
    if rejected.reason == "oversized":
        return RequestError("oversized", f"this {type_} is too large", reasons=[rejected.detail])
    reasons = []
    for line in rejected.detail.split("; "):
        place = next((place for place in _PLACES[type_] if line.startswith(place)), "")
        reasons.append(line.removeprefix(place))
    return RequestError("invalid", f"this is not a valid {type_}", reasons=reasons)
