"""Plain events, which most are: decoded, checked and written as records in one pass. Pure: no clock, no IO.

They are decoded by the types that the processor decodes records by, so their records need no second check. An event
that is not surely valid, or that needs more than an envelope (own types, objects as metadata, ids that are bugs, times
that are written in an unusual way), is not plain. A request with such an event goes the general way
(``source_records.py``), which makes the same records and knows the reasons (docs/decisions/0049).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, cast

import msgspec

from topics.codec import MAX_SOURCE_VALUE_BYTES
from topics.event import EventInput
from topics.fields import MAX_ID_CHARS, is_session_key
from topics.metadata import MAX_METADATA_CHARS
from topics.structs import struct_of
from tracker.collect.bug_ids import has_bug, is_bug
from tracker.collect.errors import RequestError
from tracker.collect.records.context import RecordContext, RecordRules
from tracker.collect.records.event_list import MAX_BATCH_EVENTS
from tracker.collect.records.event_time import is_storable, iso_time, parse_time, usual_time
from tracker.collect.records.source_records import EncodedRecord, add_visitor

#: Where a batch says that it is one: only ``sent_at`` may come before it.
_BATCH_HEAD_BYTES: Final = 64
#: Ids that are remembered as JSON.
ID_CACHE_ENTRIES: Final = 4_096

_Metadata = Annotated[str, msgspec.Meta(max_length=MAX_METADATA_CHARS)] | msgspec.UnsetType | None
_SentAt = str | msgspec.UnsetType


class _Content(msgspec.Struct, kw_only=True):
    """An ``EventInput``: those of its fields that are read here. Absent texts are empty."""

    event_id: str = ""
    user_id: str = ""
    workspace_id: str = ""
    project_id: str = ""
    page_url: str = ""
    referrer_url: str | msgspec.UnsetType | None = msgspec.UNSET
    #: Only a text: objects have limits that types don't tell.
    metadata: Annotated[_Metadata, msgspec.Meta()] = msgspec.UNSET


_content: Final[Any] = struct_of(EventInput, {EventInput: _Content})


class PlainEvent(_content, kw_only=True):  # type: ignore[call-arg,misc]
    """An event as clients send it: flat."""

    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)] = ""
    visitor_id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)] = ""
    timestamp: str | None = None
    passive: bool = False


class _SingleEvent(PlainEvent, kw_only=True):  # type: ignore[call-arg]
    sent_at: _SentAt = msgspec.UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    batch: Annotated[list[PlainEvent], msgspec.Meta(min_length=1, max_length=MAX_BATCH_EVENTS)]
    sent_at: _SentAt = msgspec.UNSET


class PlainRequest(NamedTuple):
    """The events of a request, and when the client says that it has sent them."""

    events: Sequence[PlainEvent]
    is_batch: bool
    sent_at_ms: int | None


_decode_batch: Final = cast("Callable[[bytes], _Batch]", msgspec.json.Decoder(_Batch).decode)
_decode_event: Final = cast("Callable[[bytes], _SingleEvent]", msgspec.json.Decoder(_SingleEvent).decode)
_encode: Final = msgspec.json.Encoder().encode


def plain_request(body: bytes, rules: RecordRules) -> PlainRequest | None:
    """Decode a request's body; None if its events are not plain. About 0.5 us an event."""
    if rules.personal_data is not None:
        return None
    is_batch = b'"batch"' in body[:_BATCH_HEAD_BYTES]
    events: Sequence[PlainEvent]
    try:
        if is_batch:
            batch = _decode_batch(body)
            events, sent_at = batch.batch, batch.sent_at
        else:
            event = _decode_event(body)
            events, sent_at = (event,), event.sent_at
            event.sent_at = msgspec.UNSET
    except (ValueError, RecursionError):  # msgspec's own errors, and that of a text that is not UTF-8
        return None
    if isinstance(sent_at, msgspec.UnsetType):
        return PlainRequest(events, is_batch, None)
    sent_at_ms = parse_time(sent_at)
    return None if sent_at_ms is None else PlainRequest(events, is_batch, sent_at_ms)


def plain_records(events: Sequence[PlainEvent], context: RecordContext) -> list[EncodedRecord] | None:
    """Make the records of a request's events, and use these up; None if one of them is not plain. 1.5 us an event.

    Events that name no session share one, and only the first event of each session carries the visitor, as in
    ``event_list``.
    """
    offered = context.offered_session_id
    heads: dict[str, str] = {}
    records: list[EncodedRecord] = []
    for event in events:
        sets_cookie = not event.session_id
        session_id = event.session_id or offered or context.new_id()
        if sets_cookie:
            offered = session_id
        event_id = event.event_id = event.event_id or context.new_id()
        envelope = None if has_bug(session_id, event_id, event.user_id) else _envelope(event, context)
        key = session_id.encode()
        is_first = session_id not in heads
        if envelope is None or (is_first and not (len(session_id) <= MAX_ID_CHARS and is_session_key(key))):
            return None
        if is_first:
            heads[session_id] = f'{{"type":"event","session_id":{_json(session_id)}'
        value = b"".join((f"{heads[session_id]}{envelope}".encode(), _encode(event), b"}"))
        record = EncodedRecord(key, value, session_id, event_id, sets_cookie)
        if len(value) > MAX_SOURCE_VALUE_BYTES or (is_first and not _has_visitor(record, event, context)):
            return None
        records.append(record)
    return records


def _envelope(event: PlainEvent, context: RecordContext) -> str | None:
    """Move what does not belong into an event's ``data`` to its envelope, up to the data; None: it is not plain."""
    visitor_id, passive = event.visitor_id or context.visitor_id, event.passive
    times = _times(event.timestamp, context)
    if times is None or is_bug(visitor_id):
        return None
    event.session_id = event.visitor_id = ""
    event.timestamp, event.passive = None, False
    if context.is_anonymous:
        event.user_id = visitor_id = ""
    envelope = f',"visitor_id":{_json(visitor_id)}{times}' if visitor_id else times
    if passive:
        envelope += ',"passive":true'
    workspace_id, project_id = context.workspace_id, context.project_id
    if not workspace_id:
        return f'{envelope},"data":'
    if event.workspace_id not in ("", workspace_id) or (project_id and event.project_id not in ("", project_id)):
        return None
    event.workspace_id = ""
    if project_id:
        event.project_id = project_id
    return f'{envelope},"workspace_id":{_json(workspace_id)},"data":'


def _times(timestamp: str | None, context: RecordContext) -> str | None:
    """Return when an event happened, and the client's own time if that differs; None: it is not plain."""
    if timestamp is None:
        return f',"timestamp":"{iso_time(context.now_ms)}"'
    time_ms = usual_time(timestamp)
    if time_ms is None or not is_storable(time_ms):
        return None
    if context.sent_at_ms is not None:
        time = context.rules.time_limits.corrected(time_ms, context.sent_at_ms, context.now_ms)
    else:
        time = context.rules.time_limits.clamped(timestamp, time_ms, context.now_ms)
        if time is timestamp:
            return f',"timestamp":"{time}"'
    return f',"timestamp":"{time}","client_timestamp":"{timestamp}"'


def _has_visitor(record: EncodedRecord, event: PlainEvent, context: RecordContext) -> bool:
    """Add the visitor; False: with it the record is too large."""
    try:
        add_visitor(record, (event.page_url, event.referrer_url), context, "event")
    except RequestError:
        return False
    return True


@lru_cache(ID_CACHE_ENTRIES)  # a session sends more than one event, and all of a key's name its workspace
def _json(id_: str) -> str:
    return _encode(id_).decode()
