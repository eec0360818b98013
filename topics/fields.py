"""The field types that several records share, each with its limit."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from topics.metadata import MAX_METADATA_CHARS, MAX_METADATA_DEPTH, MAX_METADATA_KEYS, as_text

#: Strict: "12" is not a number, unknown fields are rejected.
OUTSIDE = ConfigDict(extra="forbid", strict=True)

MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 2_048
MAX_URL_CHARS = 4_096

#: A record's key: no white space or control characters, so that it is safe in a URL, a cookie and a log line.
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00-\x20\x7f]+$")]
#: What it may not hold.
_CONTROL = bytes([*range(0x21), 0x7F])
Id = Annotated[str, StringConstraints(max_length=MAX_ID_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Url = Annotated[str, StringConstraints(max_length=MAX_URL_CHARS)]
Metadata = Annotated[str, StringConstraints(max_length=MAX_METADATA_CHARS)]
_MetadataObject = Annotated[
    dict[str, Any],
    Field(
        description=f"Stored as its JSON with sorted keys, of at most {MAX_METADATA_CHARS} characters: "
        f"at most {MAX_METADATA_DEPTH} levels, {MAX_METADATA_KEYS} keys in all."
    ),
]
#: Metadata as producers may send it: a text, or an object, which becomes one.
MetadataInput = Annotated[Metadata, BeforeValidator(as_text, json_schema_input_type=Metadata | _MetadataObject)]
Milliseconds = Annotated[float, Field(ge=0, le=86_400_000, allow_inf_nan=False)]
Percentage = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=0, le=100_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]

#: A place in a log, or a number made of one.
Version = Annotated[int, Field(ge=0)]

#: A hundred years: what a batch may hold at most, because events_v1 has a partition a year and ClickHouse takes rows
#: of a hundred partitions in one insert. The client's own time: ISO 8601; without an offset it is read as UTC.
Timestamp = Annotated[
    datetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)),
]


def is_session_key(key: bytes) -> bool:
    """Say whether a session id has the form of a ``SessionId``, from its UTF-8; its length is another question."""
    return key.translate(None, _CONTROL) == key != b""
