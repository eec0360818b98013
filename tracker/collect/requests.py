"""From a request's body to the source record that goes to Kafka, or to a rejection. Pure: no clock, no IO.

The record is serialised first and then checked as the bytes that it is, by the decoder that the processor
uses. So what leaves here is by construction what is accepted there, and it is validated once.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import orjson
from pydantic import TypeAdapter, ValidationError

from topics.codec import RejectedRecord, decode_source
from topics.fields import SessionId
from tracker.collect.errors import RequestError, from_rejection

#: The range that the API takes for a session's inactivity gap; a deployment's default outside it widens it.
MIN_TIMEOUT_SECONDS: Final = 300
MAX_TIMEOUT_SECONDS: Final = 1_800

#: Events in one request.
MAX_BATCH_EVENTS: Final = 500

_session_id: Final[TypeAdapter[str]] = TypeAdapter(SessionId)


class Outgoing(NamedTuple):
    """A checked source record on its way to the topic, and the ids that its sender is told."""

    key: bytes
    value: bytes
    session_id: str
    event_id: str | None
    cookie: bool  # the session id came from the cookie or was minted, so the cookie is (re)set


class Context(NamedTuple):
    """What a record takes from outside its body: the present, fresh ids and the cookie's session."""

    now_iso: str
    new_id: Callable[[], str]
    cookie_session_id: str | None


def event_record(fields: dict[str, Any], context: Context) -> Outgoing:
    """Make the source record of one event from its flat fields, minting what is missing."""
    if fields.get("event_id", "") == "":
        fields["event_id"] = context.new_id()
    return _checked("event", fields, context, fields["event_id"])


def event_batch(fields: dict[str, Any], context: Context) -> list[Outgoing]:
    """Make the source records of ``{"batch": [event, ...]}``, in order and all or none.

    Events that name no session share one: a page that is left before its first answer has no cookie yet.
    """
    batch = fields.pop("batch")
    if fields or not isinstance(batch, list) or not 1 <= len(batch) <= MAX_BATCH_EVENTS:
        reason = f"batch: must be a list of 1 to {MAX_BATCH_EVENTS} events, and nothing beside it"
        raise RequestError("invalid", "this is not a valid batch", reasons=[reason])
    shared = context._replace(cookie_session_id=context.cookie_session_id or context.new_id())
    records = []
    for index, event in enumerate(batch):
        if not isinstance(event, dict):
            reason = f"batch.{index}: must be a JSON object"
            raise RequestError("invalid", "this is not a valid batch", reasons=[reason])
        try:
            records.append(event_record(event, shared))
        except RequestError as error:
            reasons = [f"batch.{index}.{reason}" for reason in error.reasons]
            raise RequestError(error.code, error.message, reasons=reasons) from None
    return records


def session_record(fields: dict[str, Any], context: Context, *, default_timeout_seconds: int) -> Outgoing:
    """Make the source record that opens a session or adds to its context."""
    record = _checked("session", fields, context, None)
    timeout_seconds = fields.get("timeout_seconds", default_timeout_seconds)
    low = min(MIN_TIMEOUT_SECONDS, default_timeout_seconds)
    high = max(MAX_TIMEOUT_SECONDS, default_timeout_seconds)
    if not low <= timeout_seconds <= high:
        reason = f"timeout_seconds: must be from {low} to {high}"
        raise RequestError("invalid", "this is not a valid session", reasons=[reason])
    return record


def control_record(type_: Literal["expire", "flush"], session_id: str, now_iso: str, scope: str | None) -> Outgoing:
    """Make the record that closes a session (of the workspace ``scope``, if one is given) or flushes its events."""
    envelope: dict[str, Any] = {"type": type_, "session_id": session_id, "timestamp": now_iso}
    if scope is not None and type_ == "expire":
        envelope["data"] = {"workspace_id": scope}
    return Outgoing(session_id.encode(), orjson.dumps(envelope), session_id, None, cookie=False)


def session_id_from_path(raw: str) -> str:
    """Return the session id that a percent-encoded path segment names.

    Raises:
        RequestError: if it is not UTF-8, or no session id.
    """
    try:
        return valid_session_id(unquote_to_bytes(raw).decode("utf-8"))
    except (UnicodeDecodeError, ValidationError):
        raise RequestError("bad_session_id", "a session id is 1 to 128 visible characters in UTF-8") from None


def valid_session_id(value: str) -> str:
    """Return a session id as it is.

    Raises:
        ValidationError: if it is none.
    """
    return _session_id.validate_python(value)


def _checked(
    type_: Literal["event", "session"], fields: dict[str, Any], context: Context, event_id: str | None
) -> Outgoing:
    """Put the record around its data, serialise it and check the bytes."""
    in_body = "session_id" in fields
    # A null in the body is refused further down, not replaced: somebody meant to name a session.
    session_id = fields.pop("session_id") if in_body else context.cookie_session_id or context.new_id()
    timestamp = fields.pop("timestamp", context.now_iso)
    envelope = {"type": type_, "session_id": session_id, "timestamp": timestamp, "data": fields}
    try:
        value = orjson.dumps(envelope)
        # An id that is no string is refused by the decoder; until then it only needs some key.
        key = session_id.encode() if isinstance(session_id, str) else b""
        decode_source(key, value)
    except orjson.JSONEncodeError:
        raise RequestError("invalid", f"this is not a valid {type_}", reasons=["nested too deeply"]) from None
    except RejectedRecord as rejected:
        raise from_rejection(rejected, type_=type_) from None
    return Outgoing(key, value, session_id, event_id, cookie=not in_body)
