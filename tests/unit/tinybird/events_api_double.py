"""A double of the Events API that is ill on demand, and what it has in common with the real one.

``EVENTS_API_CONTRACTS`` run on the double here, and on the real client in front of the local Tinybird in
``tests/integration/local/test_events_api_contracts.py``.
"""

import gzip
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
import pytest

from tracker.datasources.files import shipped_datasources
from tracker.datasources.rows import find_misfit, row_decoder
from tracker.errors import ConfigurationError
from tracker.tinybird.answers import IngestResult, RowsRefused
from tracker.tinybird.events_api import Body, pack

DATASOURCE = "events_v1"
VALUES = {"String": "", "UInt32": 1, "UInt64": 2, "Bool": False, "DateTime64(3)": "2026-01-02T03:04:05.678Z"}


def event(row_id: str, **changed: Any) -> bytes:
    """A row with something in every column that needs a value."""
    columns = shipped_datasources()[DATASOURCE].columns
    plain = {column.name: column.type.removeprefix("LowCardinality(").removesuffix(")") for column in columns}
    plain |= {column.name: column.type for column in columns if column.type in VALUES}
    row = {column.name: VALUES[plain[column.name]] for column in columns if not column.nullable}
    return orjson.dumps(row | {"id": row_id} | changed)


class ApiDouble:
    """Takes rows as Tinybird does. ``faults`` come first, one a request: an error to raise, or what to do instead."""

    def __init__(self) -> None:
        self.faults: deque[Exception | Callable[[list[bytes]], Awaitable[IngestResult]]] = deque()
        self.is_refused: Callable[[list[bytes]], Exception | None] = lambda _: None
        self.quarantines: Callable[[bytes], bool] = lambda _: False
        self.requests: list[list[bytes]] = []
        self.bodies: list[bytes] = []
        self.written: list[bytes] = []
        self.answer_headers: Mapping[str, str] = {}
        self.under_way = self.most_under_way = 0

    async def append(self, datasource: str, body: Body, heed: Callable[[Mapping[str, str]], None]) -> IngestResult:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._append(datasource, body, heed)
        finally:
            self.under_way -= 1

    async def _append(self, datasource: str, body: Body, heed: Callable[[Mapping[str, str]], None]) -> IngestResult:
        rows = gzip.decompress(body.packed).split(b"\n")
        self.requests.append(rows)
        self.bodies.append(body.packed)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        heed(self.answer_headers)
        if fault is not None:
            return await fault(rows)
        if datasource != DATASOURCE:
            raise ConfigurationError("the datasource does not exist")
        if error := self.is_refused(rows):
            raise error
        fit = [row for row in rows if not self.quarantines(row)]
        self.written += fit
        return IngestResult(len(fit), len(rows) - len(fit))


class Api(Protocol):
    """The double, or the real client."""

    async def append(self, datasource: str, body: Body, heed: Callable[[Mapping[str, str]], None]) -> IngestResult:
        """Append rows in one request."""


async def _append(api: Api, *rows: bytes, datasource: str = DATASOURCE) -> IngestResult:
    return await api.append(datasource, await pack(list(rows)), lambda _: None)


async def rows_that_fit_are_written_and_counted(api: Api) -> None:
    assert await _append(api, event("a"), event("b")) == IngestResult(2, 0)


async def a_row_that_does_not_fit_is_quarantined_and_the_others_are_written(api: Api) -> None:
    assert await _append(api, event("c"), event("d", viewport_width="wide"), event("e")) == IngestResult(2, 1)


async def a_request_with_a_line_that_is_no_json_is_refused_whole(api: Api) -> None:
    with pytest.raises(RowsRefused) as raised:
        await _append(api, event("f"), b"{broken")
    assert not raised.value.may_be_written


async def a_datasource_that_does_not_exist_is_the_operators_to_fix(api: Api) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        await _append(api, event("g"), datasource="nowhere")


async def the_answers_headers_are_told(api: Api) -> None:
    told: list[Mapping[str, str]] = []
    await api.append(DATASOURCE, await pack([event("h")]), told.append)
    assert len(told) == 1


EVENTS_API_CONTRACTS = (
    rows_that_fit_are_written_and_counted,
    a_row_that_does_not_fit_is_quarantined_and_the_others_are_written,
    a_request_with_a_line_that_is_no_json_is_refused_whole,
    a_datasource_that_does_not_exist_is_the_operators_to_fix,
    the_answers_headers_are_told,
)


def strict_double() -> ApiDouble:
    """The double as it is well: it judges rows by the datasource's columns."""
    double, decoder = ApiDouble(), row_decoder(shipped_datasources()[DATASOURCE])

    def refused(rows: list[bytes]) -> Exception | None:
        try:
            for row in rows:
                orjson.loads(row)
        except orjson.JSONDecodeError as error:
            return RowsRefused(str(error))
        return None

    double.is_refused = refused
    double.quarantines = lambda row: find_misfit(decoder, row) is not None
    return double
