"""Which rows of an NDJSON body fit a datasource. Pure: bytes in, bytes and verdicts out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tracker.datasources.files import Datasource
from tracker.datasources.rows import find_misfit, row_decoder
from tracker.errors import RejectedError


class NotNdjsonError(RejectedError):
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
        self._decoder = row_decoder(datasource)

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
            misfit = find_misfit(self._decoder, line)
            if misfit is None:
                fit.append(line)
            else:
                unfit.append(UnfitRow(values, misfit.column, misfit.error))
        return SortedRows(b"\n".join(fit), len(fit), unfit)


def parse_object(line: bytes, number: int) -> dict[str, Any]:
    """Return the JSON object of one line.

    Raises:
        NotNdjsonError: if it is not NDJSON; names the line.
    """
    try:
        values = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotNdjsonError(f"line {number} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise NotNdjsonError(f"line {number} is JSON, but not an object")
    return values
