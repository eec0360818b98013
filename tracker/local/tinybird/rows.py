"""Which rows of an NDJSON body fit a datasource. Pure: bytes in, bytes and verdicts out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec

from tracker.errors import ConfigurationError
from tracker.local.tinybird.datasource import Column, Datasource

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


class NotNdjsonError(ValueError):
    """The body is not one JSON object a line."""


@dataclass(frozen=True, slots=True)
class UnfitRow:
    """A row for the quarantine: its values, the column that does not fit (if known) and why."""

    values: dict[str, Any]
    column: str
    error: str


@dataclass(slots=True)
class SortedRows:
    """The rows of a body: those that fit, still as the bytes that came, and those that don't."""

    fit: bytes
    fit_count: int
    unfit: list[UnfitRow] = field(default_factory=list)


class RowSorter:
    """Knows one datasource's columns, and sorts the rows that fit them from those that don't.

    As with Tinybird, unknown keys are ignored, "7" is no number, and a column that is neither nullable nor
    has a default must be there.
    """

    def __init__(self, datasource: Datasource) -> None:
        row = msgspec.defstruct(
            datasource.name,
            [_field(datasource.name, column) for column in datasource.columns],
            kw_only=True,
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(row)

    def sort(self, body: bytes) -> SortedRows:
        """Sort the rows of an NDJSON body; empty lines don't count.

        Raises:
            NotNdjsonError: if any line is not a JSON object. No row counts then.
        """
        try:
            rows: Sequence[Any] = self._decoder.decode_lines(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._sort_one_by_one(body)
        # The decoder also takes objects without a newline between or with one inside: not so here.
        if len(rows) == body.strip().count(b"\n") + 1:
            return SortedRows(body, len(rows))
        return self._sort_one_by_one(body)

    def _sort_one_by_one(self, body: bytes) -> SortedRows:
        fit: list[bytes] = []
        unfit: list[UnfitRow] = []
        for number, line in enumerate(body.split(b"\n"), start=1):
            if not line.strip():
                continue
            values = parse_object(line, number)
            try:
                self._decoder.decode(line)
            except msgspec.ValidationError as error:
                found = _PATH.search(str(error)) or _MISSING.search(str(error))
                unfit.append(UnfitRow(values, found[1] if found else "", str(error)))
            else:
                fit.append(line)
        return SortedRows(b"\n".join(fit), len(fit), unfit)


def parse_object(line: bytes, number: int) -> dict[str, Any]:
    """Return the JSON object of one line.

    Raises:
        NotNdjsonError: if it is none; names the line.
    """
    try:
        values = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotNdjsonError(f"line {number} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise NotNdjsonError(f"line {number} is JSON, but not an object")
    return values


def _field(datasource: str, column: Column) -> tuple[str, Any] | tuple[str, Any, Any]:
    plain = column.type
    while match := _WRAPPER.match(plain):
        plain = match[1]
    expected = _expected(plain)
    if expected is None:
        raise ConfigurationError(f"{datasource}.datasource: the local Tinybird does not know the type {column.type}")
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
