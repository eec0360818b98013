"""Source records, decoded: what the fold reads of them.

A record is decoded by structs that are made of its TypedDict, in about 1.5 us an event. What they can't tell is for
pydantic to judge (``codec.decode_source``), which knows the reasons.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Union, cast

import msgspec

from topics.codec import MAX_SOURCE_VALUE_BYTES, SCHEMA_NAME, decode_source
from topics.event import EventInput, EventRecord, OwnEventInput, OwnEventRecord
from topics.fields import MAX_ID_CHARS, is_session_key
from topics.metadata import MAX_METADATA_CHARS, UnfitObject, as_text
from topics.session import SessionInput, SessionRecord
from topics.structs import ANY_TIME, END, OLDEST, struct_of
from topics.system.control import ExpireRecord, ExpireScope, FlushRecord, TickRecord

Kind = Literal["event", "session", "expire", "flush"]

#: The lengths of ``2026-11-25T10:00:00Z`` and ``2026-11-25T10:00:00.123456Z``.
_SECOND_CHARS: Final = 20
_MICROSECOND_CHARS: Final = 27
_MICROSECOND_DIGITS: Final = 6
#: Where both have the end of their seconds.
_SECOND_END: Final = 19
#: How most times end, and how rows write that. A look-up takes a third of the time of looking at each character.
_ENDS: Final = {"Z": "Z", **{f".{ms:03d}Z": f".{ms:03d}000Z" if ms else "Z" for ms in range(1_000)}}
#: Seconds that are known to be right, about 150 bytes each.
KNOWN_SECONDS: Final = 10_000
_Text = Annotated[str, msgspec.Meta(max_length=MAX_METADATA_CHARS)]
_MetadataInput = Annotated[_Text | dict[str, Any] | msgspec.UnsetType | None, msgspec.Meta()]


class Scope(msgspec.Struct, kw_only=True):
    """An ``ExpireScope``, and what other data begin with."""

    workspace_id: str = ""


class EventFields(Scope, kw_only=True):
    """An ``EventInput``; only these of its fields are read one by one."""

    event_id: str = ""
    #: An object becomes a text as soon as it is decoded.
    metadata: _MetadataInput = msgspec.UNSET


class OwnEventFields(EventFields, kw_only=True):
    """An ``OwnEventInput``. Once it is decoded, its metadata is the canonical JSON of its properties."""

    event_type: str
    properties: dict[str, Any] | msgspec.UnsetType


class SessionFields(Scope, kw_only=True):
    """A ``SessionInput``."""

    timeout_seconds: int = 0


class Tick(msgspec.Struct):
    """A ``TickRecord``."""


class Keyed(msgspec.Struct, kw_only=True):
    """Any other record. ``timestamp`` is as rows have it: in UTC, without a fraction if that is zero."""

    # The pattern of the one and the form of the other cost as much as all the rest: they are looked at afterwards.
    session_id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    timestamp: Annotated[str, msgspec.Meta(max_length=_MICROSECOND_CHARS)]
    workspace_id: str = ""
    retry_count: int = 0


class Told(Keyed, kw_only=True):
    """A record that tells something of a visitor."""

    client_timestamp: datetime = ANY_TIME
    visitor_id: str = ""
    visitor: Any = msgspec.UNSET


class Event(Told, kw_only=True):
    """An ``EventRecord``."""

    passive: bool = False
    data: EventFields


class OwnEvent(Event, kw_only=True):
    """An ``OwnEventRecord``."""

    schema: str
    data: OwnEventFields


class Session(Told, kw_only=True):
    """A ``SessionRecord``."""

    open_only: bool = False
    data: SessionFields


class Expire(Keyed, kw_only=True):
    """An ``ExpireRecord``."""

    data: Scope | msgspec.UnsetType = msgspec.UNSET


class Flush(Keyed, kw_only=True):
    """A ``FlushRecord``."""


_BASES: Final = {
    EventInput: EventFields,
    EventRecord: Event,
    ExpireRecord: Expire,
    ExpireScope: Scope,
    FlushRecord: Flush,
    OwnEventInput: OwnEventFields,
    OwnEventRecord: OwnEvent,
    SessionInput: SessionFields,
    SessionRecord: Session,
    TickRecord: Tick,
}
#: The struct of most records: comparing with it tells them, at a tenth of what ``isinstance`` of a struct costs.
EVENT: Final = cast("type[Event]", struct_of(EventRecord, _BASES))
_others: Final = [struct_of(each, _BASES) for each in (SessionRecord, ExpireRecord, FlushRecord, TickRecord)]
_own_event: Final = struct_of(OwnEventRecord, _BASES)
_any_record: Final = Union[(EVENT, *_others)]
_decode_own: Final = cast("Callable[[bytes], OwnEvent]", msgspec.json.Decoder(_own_event).decode)
_decode: Final[Callable[[bytes], Keyed | Tick]] = msgspec.json.Decoder(_any_record).decode
# One of a union, too, names its type; msgspec takes a struct that stands alone without it.
_decode_many: Final[Callable[[bytes], list[Keyed | Tick]]] = msgspec.json.Decoder(list[_any_record]).decode  # type: ignore[valid-type]
_encode: Final = msgspec.json.Encoder().encode
_EVENTS: Final = frozenset({EVENT, _own_event})


def decode_record(key: bytes | None, value: bytes | None) -> Keyed | Tick:
    """Decode and check one source record.

    Raises:
        RejectedRecord: the bytes are no valid record; it carries the reason. No bytes raise another error.
    """
    if key is not None and value is not None and len(value) <= MAX_SOURCE_VALUE_BYTES:
        try:
            record = _decode(value)
        except (ValueError, RecursionError):  # msgspec's own errors, and that of a text that is not UTF-8
            own = _own(value) if SCHEMA_NAME in value else None
            if own is not None and _is_right(own, key):
                return own
        else:
            if (type(record) is EVENT or isinstance(record, Keyed)) and _is_right(record, key):
                return record
    judged: dict[str, Any] = dict(decode_source(key, value))
    if "timestamp" in judged:
        judged["timestamp"] = _text_of(judged["timestamp"])
    if "schema" in judged:
        return _with_metadata(cast("OwnEvent", msgspec.convert(judged, _own_event)))
    return cast("Keyed | Tick", msgspec.convert(judged, _any_record))


def are_valid_events(values: Sequence[bytes]) -> bool:
    """Say whether all of these values, as orjson wrote them, surely are events that ``decode_record`` takes.

    It says nothing of their keys, nor whether own events fit their schemas. If it is False, ``decode_source`` says
    which one is not, and why, if any. About 1 us an event.
    """
    if max(map(len, values), default=0) > MAX_SOURCE_VALUE_BYTES:
        return False
    array = b"[" + b",".join(values) + b"]"
    own = [value for value in values if SCHEMA_NAME in value] if SCHEMA_NAME in array else []
    if own:
        array = b"[" + b",".join(value for value in values if SCHEMA_NAME not in value) + b"]"
    try:
        records: list[Any] = [*_decode_many(array), *map(_own, own)]
    except ValueError:
        return False
    return (
        _EVENTS.issuperset(map(type, records))
        # Each once: the events of a batch share their session, and often their times.
        and all(is_session_key(session_id.encode()) for session_id in {record.session_id for record in records})
        and None not in map(_utc, {record.timestamp for record in records})
        and all(map(_is_right_event, records))
    )


def details_of(event: Event) -> bytes:
    """Return an event's ``data`` as JSON, its fields in one order, without its id and its workspace. About 0.5 us.

    Texts that are empty where a row may not lack them are left out.
    """
    data = event.data
    event_id, workspace_id = data.event_id, data.workspace_id
    data.event_id = data.workspace_id = ""
    details = _encode(data)
    data.event_id, data.workspace_id = event_id, workspace_id
    return details


def kind_of(record: Keyed) -> Kind:
    """Return the ``type`` of a record."""
    return cast("Kind", record.__struct_config__.tag)


def workspace_of(record: Keyed) -> str:
    """Return the workspace that a record names, in its envelope or in its data; empty if it names none."""
    return record.workspace_id or (record.data.workspace_id if type(record) is EVENT else _workspace_in_data(record))


def _own(value: bytes) -> OwnEvent | None:
    """Decode an own event; None: can't tell."""
    try:
        event = _decode_own(value)
        has_metadata = event.data.metadata not in (msgspec.UNSET, None)
        return None if has_metadata else _with_metadata(event)
    except (ValueError, RecursionError):
        return None


def _with_metadata(event: OwnEvent) -> OwnEvent:
    """Put an own event's properties where rows have them."""
    event.data.metadata = as_text(event.data.properties)
    event.data.properties = msgspec.UNSET
    return event


def _is_right(record: Keyed, key: bytes) -> bool:
    """Look at what a struct can't hold, and put the time into the form of rows. False: can't tell. About 0.5 us."""
    if record.session_id.encode() != key or not is_session_key(key):
        return False
    timestamp = _utc(record.timestamp)
    if timestamp is None:
        return False
    record.timestamp = timestamp
    if type(record) is EVENT or isinstance(record, Event):
        return _is_right_event(record)
    if isinstance(record, Told) and not OLDEST < record.client_timestamp < END:
        return False
    return not record.workspace_id or _workspace_in_data(record) in ("", record.workspace_id)


def _is_right_event(event: Event) -> bool:
    """Look at the rest of what the struct of an event can't hold; an object in its metadata becomes a text."""
    data = event.data
    if data.metadata.__class__ is dict:
        try:
            data.metadata = as_text(data.metadata)
        except UnfitObject:
            return False
    if event.client_timestamp is not ANY_TIME and not OLDEST < event.client_timestamp < END:
        return False
    return not event.workspace_id or data.workspace_id in ("", event.workspace_id)


def _workspace_in_data(record: Keyed) -> str:
    data: Any = getattr(record, "data", None)
    return data.workspace_id if isinstance(data, Scope) else ""


def _utc(text: str) -> str | None:
    """Return a time as rows have it, or None if it is not written as most are. About 0.2 us."""
    second = text[:_SECOND_END]
    if not _is_second(second):
        return None
    end = _ENDS.get(text[_SECOND_END:])
    if end is not None:
        return second + end
    digits = text[_SECOND_END + 1 : -1]
    if not (text[_SECOND_END:].startswith(".") and text[-1] == "Z" and digits.isascii() and digits.isdigit()):
        return None
    if not digits.strip("0"):
        return second + "Z"
    return text if len(text) == _MICROSECOND_CHARS else f"{second}.{digits.ljust(_MICROSECOND_DIGITS, '0')}Z"


@lru_cache(KNOWN_SECONDS)  # most records of a chunk share a few seconds, and reading one costs 0.3 us
def _is_second(text: str) -> bool:
    """Say whether a text is a time to the second, written as most are."""
    if not (
        len(text) == _SECOND_END and text[:2] == "20" and text[4] == text[7] == "-" and text[10] == "T"
        and text[13] == text[16] == ":"
    ):  # fmt: skip
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text_of(moment: datetime) -> str:
    """Return a time as orjson writes it; without an offset it is in UTC."""
    aware = moment.astimezone(UTC) if moment.tzinfo else moment
    return aware.replace(tzinfo=None).isoformat() + "Z"
