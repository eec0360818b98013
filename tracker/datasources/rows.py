"""Whether a row fits a datasource's columns: types, required columns, ranges. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec

from tracker.datasources.files import Column, Datasource
from tracker.errors import ConfigurationError

_WRAPPER: Final = re.compile(r"^(?:Nullable|LowCardinality)\((.+)\)$")
_INTEGER: Final = re.compile(r"^(U?)Int(8|16|32|64)$")
_DATE_TIME: Final = re.compile(r"^DateTime(?:64\(\d(?:, *'[\w/]+')?\)|\('[\w/]+'\))?$")
_PLAIN: Final[dict[str, Any]] = {
    "String": str,
    "Bool": bool,
    "Float32": float,
    "Float64": float,
    "Date": date,
}
#: msgspec checks bounds in 64 signed bits; larger ones hold for every integer that it decodes anyway.
_MAX_BOUND: Final = 2**63 - 1
_PATH: Final = re.compile(r"at `\$\.([^`]+)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first column of a row that does not fit (empty if it can't be told), and why."""

    column: str
    error: str


def row_decoder(datasource: Datasource) -> msgspec.json.Decoder[Any]:
    """Return a decoder that takes the rows that fit. Unknown keys are ignored, as Tinybird does; "7" is no number.

    Raises:
        ConfigurationError: a column has a type that is not known here.
    """
    row = msgspec.defstruct(
        datasource.name,
        [_field(datasource.name, column) for column in datasource.columns],
        kw_only=True,
        gc=False,
    )
    return msgspec.json.Decoder(row)


def find_misfit(decoder: msgspec.json.Decoder[Any], row: bytes) -> Misfit | None:
    """Return the first fault of a row, or None if it fits."""
    try:
        decoder.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _PATH.search(str(error)) or _MISSING.search(str(error))
        return Misfit(found[1] if found else "", str(error))
    return None


def _field(datasource: str, column: Column) -> tuple[str, Any] | tuple[str, Any, Any]:
    plain = column.type
    while match := _WRAPPER.match(plain):
        plain = match[1]
    expected = _expected(plain)
    if expected is None:
        raise ConfigurationError(f"{datasource}.datasource: the type {column.type} is not known here")
    if column.nullable or column.default is not None:
        return (column.name, expected | None, None)
    return (column.name, expected)


def _expected(plain_type: str) -> Any:
    """Return the type of the JSON values of an unwrapped column type, or None if it is unknown."""
    if _DATE_TIME.match(plain_type):
        return datetime
    integer = _INTEGER.match(plain_type)
    if integer is None:
        return _PLAIN.get(plain_type)
    unsigned, bits = bool(integer[1]), int(integer[2])
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    bounds = msgspec.Meta(ge=low) if high > _MAX_BOUND else msgspec.Meta(ge=low, le=high)
    return Annotated[int, bounds]
