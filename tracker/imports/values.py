"""Values of files as values of an event: texts, numbers, truth values, times, objects, however they are written. Pure.

Each function raises ``RejectedRecord`` for a value that it can't read, and no other error.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

import orjson
from typing_extensions import get_type_hints

from topics.codec import RejectedRecord
from topics.event import EventInput
from topics.metadata import UnfitObject, canonical
from topics.visitor import Visitor
from tracker.imports.paths import content_of, opened

TimeFormat = Literal["iso", "unix_s", "unix_ms", "unix_us"]
#: Seconds in one of what the number counts.
_SECONDS: Final = {"unix_s": Decimal(1), "unix_ms": Decimal("0.001"), "unix_us": Decimal("0.000001")}
#: No number of seconds that is a time has more digits.
_MAX_DIGITS: Final = 18
_MILLISECONDS: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}

#: The field that has the time of a row; how it is written is one thing for the whole file.
TIME: Final = "timestamp"

Convert = Callable[[str, Any], Any]


def as_text(field: str, value: Any) -> str:
    """Return a text; numbers and truth values as JSON writes them, times as ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return orjson.dumps(value).decode() if _fits_json(value) else str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise RejectedRecord("invalid", f"{field}: is {_kind(value)}, and must be a text")


def as_whole(field: str, value: Any) -> int:
    """Return a whole number, also of a text."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise RejectedRecord("invalid", f"{field}: is no number") from None


def as_decimal(field: str, value: Any) -> float:
    """Return a number, also of a text."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise RejectedRecord("invalid", f"{field}: is no number") from None


def as_truth(field: str, value: Any) -> bool:
    """Return a truth value, also of a text or of 1 and 0."""
    found = _TRUTH.get(str(value).lower())
    if found is None:
        raise RejectedRecord("invalid", f"{field}: is neither true nor false")
    return found


def as_metadata(field: str, value: Any) -> str:
    """Return an object as its canonical JSON; a text that holds one, too. Another text stays as it is."""
    found = opened(value)
    if isinstance(found, dict):
        try:
            return canonical(found, _json_of)
        except UnfitObject as error:
            raise RejectedRecord("invalid", f"{field}: {error}") from None
    if isinstance(value, str):
        return value
    raise RejectedRecord("invalid", f"{field}: is {_kind(value)}, and must be an object or a text")


def as_object(field: str, value: Any) -> dict[str, Any]:
    """Return an object as JSON has it; also one that a text holds, or that is a list of keys and values."""
    if not isinstance(opened(value), (dict, list)):
        raise RejectedRecord("invalid", f"{field}: is {_kind(value)}, and must be an object")
    read: dict[str, Any] = orjson.loads(as_metadata(field, content_of(value)))
    return read


def as_country(field: str, value: Any) -> str:
    """Return the code of a country in capitals."""
    return as_text(field, value).upper()


def read_time(value: Any, written: TimeFormat) -> datetime:
    """Return a time in UTC, to the millisecond; one without a zone is UTC."""
    try:
        if isinstance(value, datetime):
            time = value
        elif written in _SECONDS and not isinstance(value, date):
            time = _of_number(Decimal(str(value)) * _SECONDS[written])
        else:
            time = datetime.fromisoformat(str(value).removesuffix(" UTC"))
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError, OSError, ArithmeticError):
        raise RejectedRecord("invalid", f"timestamp: missing, or not written as {written}") from None
    return time.replace(microsecond=time.microsecond // 1_000 * 1_000)


def _as_it_is(_: str, value: Any) -> Any:
    return value


def _of_number(seconds: Decimal) -> datetime:
    if not seconds.is_finite() or seconds.adjusted() > _MAX_DIGITS:
        raise ValueError
    ms = int(seconds * _MILLISECONDS)
    return datetime.fromtimestamp(ms // _MILLISECONDS, UTC).replace(microsecond=ms % _MILLISECONDS * 1_000)


def epoch_ms(time: datetime) -> int:
    """Return a time in milliseconds since the epoch, exactly."""
    elapsed = time - _EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1_000 + elapsed.microseconds // 1_000


def _converters() -> dict[str, Convert]:
    """Return how each field of an event and of its visitor is read, by the field's own type."""
    hints = {**get_type_hints(EventInput, include_extras=True), **get_type_hints(Visitor, include_extras=True)}
    by_type: dict[Any, Convert] = {int: as_whole, float: as_decimal, bool: as_truth}
    found = {name: by_type.get(_plain_type(hint), as_text) for name, hint in hints.items()}
    found |= {"session_id": as_text, TIME: _as_it_is, "passive": as_truth}
    found |= {"schema": as_text, "properties": as_object}
    return {**found, "metadata": as_metadata, "country": as_country}


def _plain_type(hint: Any) -> Any:
    """Return the type under NotRequired, Annotated and ``| None``."""
    while get_origin(hint) in {NotRequired, Annotated, Union, UnionType}:
        hint = get_args(hint)[0]
    return hint


def _fits_json(value: float) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def _json_of(value: Any) -> str:
    """Return the JSON form of a value that only other formats have."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
    return f"of the type {type(value).__name__}"


CONVERTERS: Final = _converters()
EVENT_FIELDS: Final = frozenset(EventInput.__annotations__)
#: Of events of the user's own types.
OWN_EVENT_FIELDS: Final = frozenset({"schema", "properties"})
VISITOR_FIELDS: Final = frozenset(Visitor.__annotations__)
