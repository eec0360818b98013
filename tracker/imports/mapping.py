"""From a file's row to a source record: which column is which field, and how times and numbers are written. Pure."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topics.codec import RejectedRecord, decode_source
from topics.event import EventInput
from tracker.errors import ConfigurationError

_WHOLE: Final = frozenset({"viewport_width", "viewport_height"})
_DECIMAL: Final = frozenset({"page_load_time", "dom_ready_time", "scroll_percentage", "time_on_page"})
_NUMBERS: Final = _WHOLE | _DECIMAL
_FIELDS: Final = frozenset(EventInput.__annotations__)
_KNOWN: Final = _FIELDS | {"session_id", "timestamp"}
_SCALE_MS: Final = {"unix_s": 1000, "unix_ms": 1}


class Mapped(NamedTuple):
    """A row as a source record, at its own time."""

    timestamp_ms: int
    key: bytes
    value: bytes


class ColumnMapping(BaseModel):
    """The mapping file (TOML). Without one, columns are named as the fields of an event."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Field of an event (or session_id, timestamp) -> column of the file.
    columns: dict[str, str] = Field(default_factory=dict)
    #: Field -> the same value for every row.
    constants: dict[str, str] = Field(default_factory=dict)
    #: Field -> value in the file -> value of the event.
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    time: Literal["iso", "unix_s", "unix_ms"] = "iso"
    #: Columns that are neither mapped nor named as a field: an error, so that no data is lost unnoticed.
    ignore_other_columns: bool = False


def read_mapping(path: Path | None) -> ColumnMapping:
    """Return the mapping in a file, or the one that maps every column to the field of its name.

    Raises:
        ConfigurationError: the file is missing or says something that is not known here.
    """
    if path is None:
        return ColumnMapping()
    try:
        mapping = ColumnMapping.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    unknown = {*mapping.columns, *mapping.constants, *mapping.values} - _KNOWN
    if unknown:
        raise ConfigurationError(f"{path}: an event has no field {', '.join(sorted(unknown))}")
    return mapping


class RowMapper:
    """Turns rows into records by one mapping. About 10 us a row, most of it the check."""

    def __init__(self, mapping: ColumnMapping) -> None:
        self._mapping = mapping
        self._field_of = {column: field for field, column in mapping.columns.items()}

    def map(self, row: Mapping[str, Any]) -> Mapped:
        """Return a row's source record.

        Raises:
            RejectedRecord: with the reason; nothing else for any row.
        """
        fields = self._fields(row)
        time = _time(fields.pop("timestamp", None), self._mapping.time)
        session_id = fields.pop("session_id", None)
        if not isinstance(session_id, str):
            raise RejectedRecord("invalid", "session_id: missing, or no text")
        record = {
            "type": "event",
            "session_id": session_id,
            "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": fields,
        }
        try:
            key, value = session_id.encode(), orjson.dumps(record)
        except (UnicodeEncodeError, orjson.JSONEncodeError) as error:
            raise RejectedRecord("invalid", f"can't be written as JSON: {error}") from None
        decode_source(key, value)
        return Mapped(round(time.timestamp() * 1000), key, value)

    def _fields(self, row: Mapping[str, Any]) -> dict[str, Any]:
        # In locals, and a call only where there is something to do: this loop is most of what a row costs.
        columns, values = self._mapping.columns, self._mapping.values
        fields: dict[str, Any] = dict(self._mapping.constants)
        for column, value in row.items():
            field = self._field_of.get(column, column)
            if field not in _KNOWN:
                if self._mapping.ignore_other_columns:
                    continue
                raise RejectedRecord("invalid", f"column {column!r} is no field: map it, or set ignore_other_columns")
            if field in columns and column != columns[field]:
                continue  # another column was named for it
            found = values[field].get(str(value), value) if field in values else value
            fields[field] = _number(field, found) if field in _NUMBERS else found
        return fields


def _number(field: str, value: Any) -> int | float:
    """Read a number, which a text file can only write as text."""
    try:
        return int(value) if field in _WHOLE else float(value)
    except (TypeError, ValueError, OverflowError):
        raise RejectedRecord("invalid", f"{field}: is no number") from None


def _time(value: Any, written: str) -> datetime:
    """Read a time; one without a zone is UTC."""
    try:
        if isinstance(value, datetime):
            time = value
        elif written in _SCALE_MS and not isinstance(value, date):
            time = datetime.fromtimestamp(float(value) * _SCALE_MS[written] / 1000, UTC)
        else:
            time = datetime.fromisoformat(str(value))
    except (TypeError, ValueError, OverflowError, OSError):
        raise RejectedRecord("invalid", f"timestamp: missing, or not written as {written}") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
