"""Dead letters: records that can't be taken, kept whole with the reason and the place they came from.

Every stage makes them here, so there is one format (docs/dead-letters.md). Pure: the time of the failure is an
argument, and in the fold it is the log's, so that a replay gives the same letters byte for byte.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson
from pydantic import BaseModel, ConfigDict

from topics.fields import MAX_ID_CHARS
from topics.headers import CUT, FIRST_FAILED_AT_MS, PRODUCER_CLIENT_ID, RETRY_COUNT

RejectReason = Literal[
    "not_json",  # the value is no JSON document, or not UTF-8
    "invalid",  # JSON, but not a record of ours: wrong type, unknown field, limit exceeded
    "missing_key",  # no key, so no session
    "bad_key",  # the key is not UTF-8, or not the record's session_id
    "oversized",  # the value is larger than any record of ours may be
    "empty_value",  # a tombstone or an empty value
    "no_position",  # in an output topic, but without the headers that every output of ours carries
    "misrouted",  # forwarded to the partition of its key once already, and still not in it
    "unknown_schema",  # it names an event type, or a version of one, that is not in the folder of schemas
    "skipped",  # an operator has decided so, with tracker skip; the record was not read
    "untimed",  # it has its producer's time, by which sessions can't be ended: the topic was not as it must be
    "undecodable",  # no Kafka client can read it as it is; the detail says why, and which parts were cut
    "refused",  # Tinybird refused the row; the detail says why
]
Stage = Literal["process", "sink"]

#: Kafka's numbers.
CREATE_TIME: Final = 0
LOG_APPEND_TIME: Final = 1

#: Who is asked for their workspace; larger values are kept, but not read for it.
MAX_READ_VALUE_BYTES: Final = 65_536
MAX_RETRY_COUNT: Final = 1_000_000
#: A record of at most so many bytes is whole in its letter. base64 makes four bytes of three, and the letter's own key
#: must fit into the topic's largest message, too.
WHOLE_MAX_BYTES: Final = 1_300_000
#: The letter of a larger record keeps the first bytes of its key and of its value, at most so many of each.
KEPT_PART_BYTES: Final = 65_536
#: And its first headers, with the first characters of each name and value.
KEPT_HEADERS: Final = 100
KEPT_HEADER_CHARS: Final = 256
#: The most bytes that JSON makes of one character of a header's name.
MAX_ESCAPED_BYTES: Final = 6
_CUT: Final = re.compile(rb"([a-z ]{1,20}):([0-9]{1,12}):([0-9a-f]{64})")
_MAX_EPOCH_MS: Final = 4_102_444_800_000  # the year 2100


class RawRecord(Protocol):
    """A record as any Kafka client hands it out."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """Its time in milliseconds since the epoch."""

    @property
    def timestamp_type(self) -> int:
        """Whose clock that is: CREATE_TIME, its producer's, or LOG_APPEND_TIME, the broker's."""

    @property
    def key(self) -> bytes | None:
        """Its key, whatever it holds."""

    @property
    def value(self) -> bytes | None:
        """Its value, whatever it holds."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers: the producer's, and those that a reader added."""


class CutPart(BaseModel):
    """A part of a record that is not whole in its letter: which one, its size, and the SHA-256 of all of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    part: str
    size_bytes: int
    sha256: str


class LetterId(NamedTuple):
    """Which failure a letter reports. A letter that was sent twice (a crash before the commit) has the same."""

    stage: str
    topic: str
    partition: int
    offset: int


class DeadLetter(BaseModel):
    """A rejected record. Key, value and headers are its raw bytes, in base64, so that no byte is lost.

    A record that is too large for the letters' topic is cut: ``cut`` names the parts that are not whole. The record
    itself is at its source position, as long as retention keeps it.

    ``retry_count`` says how often it had been sent again before this failure, ``first_failed_at_ms`` when it failed
    the first time, ``last_failed_at_ms`` when it failed this time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    reason: RejectReason
    detail: str
    stage: Stage
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp_ms: int
    first_failed_at_ms: int
    last_failed_at_ms: int
    retry_count: int = 0
    workspace_id: str | None = None
    producer_client_id: str | None = None
    key_base64: str | None
    value_base64: str | None
    headers_base64: tuple[tuple[str, str | None], ...] = ()
    cut: tuple[CutPart, ...] = ()

    @property
    def id(self) -> LetterId:
        """Which failure this is."""
        return LetterId(self.stage, self.source_topic, self.source_partition, self.source_offset)

    @property
    def attempts(self) -> int:
        """How often the record has been tried."""
        return self.retry_count + 1

    @property
    def key(self) -> bytes | None:
        """The raw key."""
        return None if self.key_base64 is None else b64decode(self.key_base64)

    @property
    def value(self) -> bytes | None:
        """The raw value."""
        return None if self.value_base64 is None else b64decode(self.value_base64)

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """The raw headers."""
        return [(name, None if value is None else b64decode(value)) for name, value in self.headers_base64]

    def encode(self) -> bytes:
        """Serialise it to JSON bytes, as it lies in the topic. Whole letters are as earlier releases wrote them."""
        return self.model_dump_json(exclude=None if self.cut else {"cut"}).encode()


class RetryMark(BaseModel):
    """A note that a letter's record is being sent again. It lies in the letter's own partition of the letters' topic.

    ``begun`` comes before the record is sent and ``done`` after it was acked. With ``begun`` alone, whether it was
    sent is read from the log: the record carries the letter's place, and lies at or after ``log_end_offset``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    letter_offset: int
    state: Literal["begun", "done"]
    run_id: str
    topic: str
    partition: int
    log_end_offset: int


def dead_letter(
    record: RawRecord,
    *,
    stage: Stage,
    topic: str,
    partition: int,
    reason: RejectReason,
    detail: str,
    failed_at_ms: int,
) -> DeadLetter:
    """Return the letter of a record that can't be taken. Nothing is raised, whatever the record holds.

    The letter and ``letter_key`` of the same record fit into the letters' topic together.
    """
    headers = {name: value for name, value in record.headers if value is not None}
    read = _read(record.value)
    kept = _Kept(record)
    first_failed_at_ms = _number(headers.get(FIRST_FAILED_AT_MS), _MAX_EPOCH_MS)
    return DeadLetter(
        reason=reason,
        detail=detail,
        stage=stage,
        source_topic=topic,
        source_partition=partition,
        source_offset=record.offset,
        source_timestamp_ms=record.timestamp,
        first_failed_at_ms=first_failed_at_ms or failed_at_ms,
        last_failed_at_ms=failed_at_ms,
        retry_count=_number(headers.get(RETRY_COUNT), MAX_RETRY_COUNT) or _envelope_retry_count(read),
        workspace_id=_workspace(read),
        producer_client_id=_text(headers.get(PRODUCER_CLIENT_ID)),
        key_base64=_base64(kept.key),
        value_base64=_base64(kept.value),
        headers_base64=tuple((name, _base64(value)) for name, value in kept.headers),
        cut=tuple(kept.cut),
    )


def letter_key(key: bytes | None) -> bytes | None:
    """Return the key of a letter's own record: the rejected record's, unless it is so long that it is no session id."""
    return key if key is None or len(key) <= KEPT_PART_BYTES else None


class _Kept:
    """A record as its letter keeps it: whole, or the beginning of each part."""

    def __init__(self, record: RawRecord) -> None:
        self.key, self.value = record.key, record.value
        self.headers: Sequence[tuple[str, bytes | None]] = record.headers
        self.cut = [part for name, value in record.headers if name == CUT and (part := _read_cut(value)) is not None]
        names = sum(len(name) for name, _ in record.headers)
        values = sum(len(value or b"") for _, value in record.headers)
        size_bytes = len(record.key or b"") + len(record.value or b"") + names * MAX_ESCAPED_BYTES + values
        if size_bytes > WHOLE_MAX_BYTES:
            self.key = self._begin("key", record.key)
            self.value = self._begin("value", record.value)
            self._begin_headers()

    def _begin(self, part: str, raw: bytes | None) -> bytes | None:
        if raw is None or len(raw) <= KEPT_PART_BYTES:
            return raw
        self.cut.append(CutPart(part=part, size_bytes=len(raw), sha256=sha256(raw).hexdigest()))
        return raw[:KEPT_PART_BYTES]

    def _begin_headers(self) -> None:
        whole = self.headers
        self.headers = [
            (name[:KEPT_HEADER_CHARS], None if value is None else value[:KEPT_HEADER_CHARS])
            for name, value in whole[:KEPT_HEADERS]
        ]
        if list(whole) != self.headers:
            raw = b"".join(name.encode() + b"\0" + (value or b"") + b"\0" for name, value in whole)
            self.cut.append(CutPart(part="headers", size_bytes=len(raw), sha256=sha256(raw).hexdigest()))


def _read_cut(raw: bytes | None) -> CutPart | None:
    """Read what a reader has noted of a part that it cut; None for anything else of that name."""
    found = _CUT.fullmatch(raw or b"")
    if found is None:
        return None
    return CutPart(part=found[1].decode(), size_bytes=int(found[2]), sha256=found[3].decode())


def _read(value: bytes | None) -> dict[str, Any]:
    """Return the JSON object that a value holds, or an empty one."""
    if not value or len(value) > MAX_READ_VALUE_BYTES:
        return {}
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _workspace(read: dict[str, Any]) -> str | None:
    """A source record names it in its envelope or in its data; a row has it as a field."""
    data = read.get("data")
    found = read.get("workspace_id") or (data.get("workspace_id") if isinstance(data, dict) else None)
    return found if isinstance(found, str) and 0 < len(found) <= MAX_ID_CHARS else None


def _envelope_retry_count(read: dict[str, Any]) -> int:
    count = read.get("retry_count")
    return count if type(count) is int and 0 <= count <= MAX_RETRY_COUNT else 0


def _number(raw: bytes | None, highest: int) -> int:
    """Return the number that a header holds; 0 if it holds none that makes sense."""
    if raw is None or len(raw) > len(str(highest)) or not raw.isdigit():
        return 0
    return min(int(raw), highest)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="replace")[:MAX_ID_CHARS]


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()
