"""Dead letters: records that can't be taken, kept whole with the reason and the place they came from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

RejectReason = Literal[
    "not_json",  # the value is no JSON document, or not UTF-8
    "invalid",  # JSON, but not a record of ours: wrong type, unknown field, limit exceeded
    "missing_key",  # no key, so no session
    "bad_key",  # the key is not UTF-8, or not the record's session_id
    "oversized",  # the value is larger than any record of ours may be
    "empty_value",  # a tombstone or an empty value
    "no_position",  # in an output topic, but without the headers that every output of ours carries
    "refused",  # Tinybird refused the row; the detail says why
]
Stage = Literal["process", "sink"]


class DeadLetter(BaseModel):
    """A rejected record. ``key_base64`` and ``value_base64`` are its raw bytes, so nothing is lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: RejectReason
    detail: str
    stage: Stage
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp_ms: int
    retry_count: int = 0
    key_base64: str | None
    value_base64: str | None
