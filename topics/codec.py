"""Bytes to record and back. The hot path: one pydantic call an event decodes, checks and types it (about 3 us)."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from topics.dead_letter import RejectReason
from topics.event import EventData, EventRecord, OwnEventRecord
from topics.metadata import UnfitObject, canonical
from topics.session import SessionRecord, SessionRow
from topics.system.control import ExpireRecord, FlushRecord, TickRecord
from topics.system.usage import UsageRow

#: Every record that the source topic may have, told apart by ``type``.
SourceRecord = Annotated[
    EventRecord | SessionRecord | ExpireRecord | FlushRecord | TickRecord, Field(discriminator="type")
]
KeyedRecord = EventRecord | OwnEventRecord | SessionRecord | ExpireRecord | FlushRecord

#: The largest value of a source record in bytes; larger ones become dead letters unread.
MAX_SOURCE_VALUE_BYTES: Final = 65_536

#: Reasons are for people: a record with a thousand faults needs no thousand lines.
MAX_DETAIL_ERRORS: Final = 5
MAX_DETAIL_CHARS: Final = 1_000

#: A record that names a schema has this in its bytes.
SCHEMA_NAME: Final = b'"schema"'
_JSON_OPTIONS: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


@cache
def source_adapter() -> TypeAdapter[SourceRecord]:
    """Return what checks a source record. Making it takes 20 ms: most commands, and most workers, never need it."""
    return TypeAdapter(SourceRecord)


@cache
def _own_event_adapter() -> TypeAdapter[OwnEventRecord]:
    """An own event is a record of the same type that names its schema."""
    return TypeAdapter(OwnEventRecord)


class RejectedRecord(Exception):  # noqa: N818 - it is a verdict on the record, not an error of ours
    """A record can't be taken: it becomes a dead letter (or a 4xx) with this reason."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RejectReason = reason
        self.detail = detail[:MAX_DETAIL_CHARS]


def decode_source(key: bytes | None, value: bytes | None) -> KeyedRecord | TickRecord:
    """Decode and check one source record.

    Raises:
        RejectedRecord: the bytes are no valid record; it carries the reason. No bytes raise another error.
    """
    if not value:
        raise RejectedRecord("empty_value", "a source record needs a value; tombstones mean nothing here")
    if len(value) > MAX_SOURCE_VALUE_BYTES:
        raise RejectedRecord("oversized", f"{len(value)} bytes; the limit is {MAX_SOURCE_VALUE_BYTES}")
    try:
        own = _own_event(value) if SCHEMA_NAME in value else None
        record: KeyedRecord | TickRecord = own or source_adapter().validate_json(value)
    except ValidationError as error:
        raise rejection(error) from None
    if record["type"] == "tick":
        if key is not None:
            raise RejectedRecord("bad_key", "a tick has no key")
        return record
    if key is None:
        raise RejectedRecord("missing_key", "the key must be the session id in UTF-8")
    if key != record["session_id"].encode():
        raise RejectedRecord("bad_key", "the key is not the record's session_id in UTF-8")
    named = record.get("workspace_id")
    if named and (record.get("data", {}).get("workspace_id") or named) != named:
        raise RejectedRecord("invalid", "workspace_id: the record names one workspace and its data another")
    return record


def _own_event(value: bytes) -> OwnEventRecord | None:
    """Decode an event that names its schema; None if the record names none.

    Raises:
        ValidationError: the record is not valid, whatever its schema says.
        RejectedRecord: it has metadata, or its properties can't be stored.
    """
    try:
        envelope = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(envelope, dict) or envelope.get("type") != "event" or "schema" not in envelope:
        return None
    record = _own_event_adapter().validate_json(value)
    if record["data"].get("metadata") is not None:
        raise RejectedRecord("invalid", "data.metadata: an event of your own type has properties instead")
    try:
        canonical(record["data"]["properties"])
    except UnfitObject as unfit:
        raise RejectedRecord("invalid", f"data.properties: {unfit}") from None
    return record


def workspace_of(record: Mapping[str, Any]) -> str:
    """Return the workspace that a record names, in its envelope or in its data; empty if it names none.

    The record has been checked.
    """
    named: str | None = record.get("workspace_id") or record.get("data", {}).get("workspace_id")
    return named or ""


def rejection(error: ValidationError) -> RejectedRecord:
    """Describe a record's mistakes in a line or two, without repeating its values (they may be secret)."""
    problems = error.errors(include_url=False, include_input=False)
    reason: RejectReason = "not_json" if problems[0]["type"] == "json_invalid" else "invalid"
    lines = [
        f"{'.'.join(map(str, problem['loc'])) or 'record'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in problems
    ]
    more = len(lines) - MAX_DETAIL_ERRORS
    if more > 0:
        lines = [*lines[:MAX_DETAIL_ERRORS], f"and {more} more"]
    return RejectedRecord(reason, "; ".join(lines))


def encode(record: SourceRecord | EventData | SessionRow | UsageRow) -> bytes:
    """Serialise a record to JSON bytes; times come out in ISO 8601 with a ``Z``."""
    return orjson.dumps(record, option=_JSON_OPTIONS)
