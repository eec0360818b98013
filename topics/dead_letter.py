"""Dead letters: records that can't be taken, kept whole with the reason and the place they came from.

Every stage makes them here, so there is one format (docs/dead-letters.md). Pure: the time of the failure is an
argument, and in the fold it is the log's, so that a replay gives the same letters byte for byte.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson
from pydantic import BaseModel, ConfigDict

from topics.fields import MAX_ID_CHARS
from topics.headers import FIRST_FAILED_AT_MS, PRODUCER_CLIENT_ID, RETRY_COUNT

RejectReason = Literal[
    "not_json",  # the value is no JSON document, or not UTF-8
    "invalid",  # JSON, but not a record of ours: wrong type, unknown field, limit exceeded
    "missing_key",  # no key, so no session
    "bad_key",  # the key is not UTF-8, or not the record's session_id
    "oversized",  # the value is larger than any record of ours may be
    "empty_value",  # a tombstone or an empty value
    "no_position",  # in an output topic, but without the headers that every output of ours carries
    "misrouted",  # forwarded to the partition of its key once already, and still not in it
    "undecodable",  # no Kafka client can read it as it is; the detail says why, and what was cut
    "refused",  # Tinybird refused the row; the detail says why
]
Stage = Literal["process", "sink"]

#: Who is asked for their workspace; larger values are kept, but not read for it.
MAX_READ_VALUE_BYTES: Final = 65_536
MAX_RETRY_COUNT: Final = 1_000_000
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
    def key(self) -> bytes | None:
        """Its key, whatever it holds."""

    @property
    def value(self) -> bytes | None:
        """Its value, whatever it holds."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers, whoever set them."""


class LetterId(NamedTuple):
    """Which failure a letter reports. A letter that was sent twice (a crash before the commit) has the same."""

    stage: str
    topic: str
    partition: int
    offset: int


class DeadLetter(BaseModel):
    """A rejected record. Key, value and headers are its raw bytes, in base64, so nothing is lost.

    ``retry_count`` says how often it had been sent again before this failure, ``first_failed_at_ms`` when it failed
    the first time, ``last_failed_at_ms`` when it failed this time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        """Serialise it to JSON bytes, as it lies in the topic."""
        return self.model_dump_json().encode()


class RetryMark(BaseModel):
    """Written beside the letters, in the partition of the letter that it is about: its record is being sent again.

    ``begun`` comes before the record is sent and ``done`` after it was acked. With ``begun`` alone, whether it was
    sent is read from the log: the record carries the letter's place, and lies at or after ``log_end_offset``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    """Return the letter of a record that can't be taken. Nothing is raised, whatever the record holds."""
    headers = {name: value for name, value in record.headers if value is not None}
    read = _read(record.value)
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
        key_base64=_base64(record.key),
        value_base64=_base64(record.value),
        headers_base64=tuple((name, _base64(value)) for name, value in record.headers),
    )


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
