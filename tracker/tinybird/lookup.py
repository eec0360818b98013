"""Asks Tinybird whether rows were written, if an answer leaves that open: by their identity, without sending again."""

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

import msgspec
import orjson
import stamina
import structlog

from tracker.datasources.files import Datasource
from tracker.datasources.rows import find_misfit, row_decoder
from tracker.errors import RetryableError
from tracker.tinybird.events_api import RETRY_FIRST_WAIT_SECONDS, RETRY_MAX_WAIT_SECONDS, EventsApi
from tracker.tinybird.sql import QueryRefused, quoted

log = structlog.get_logger()

QUARANTINE_SUFFIX: Final = "_quarantine"
#: Rows reach the quarantine a little after the answer that counts them.
ASK_WAITS_SECONDS: Final = (0.0, 0.5, 2.0)
#: How much longer ago than the request the quarantine is searched.
SLACK_SECONDS: Final = 120
MAX_FOUND_ROWS: Final = 10_000

Identity = tuple[str | None, ...]


class Lookup:
    """Finds rows of one datasource again. The token needs DATASOURCE:READ for it; without, the schema has to do."""

    def __init__(self, api: EventsApi, datasource: Datasource) -> None:
        self._api = api
        self._name = datasource.name
        self._key = _key_columns(datasource)
        #: The identity of a row: an event's is its id, that of a session's row is session and version.
        self._identity = self._key if datasource.version_column else self._key[-1:]
        self._decoder: msgspec.json.Decoder[Any] = row_decoder(datasource)

    async def find_quarantined(self, rows: Sequence[bytes], count: int, since_seconds: float) -> dict[int, str]:
        """Return the places of quarantined rows among ``rows``, with the reason; fewer than ``count`` if need be."""
        places: dict[Identity, int] = {}
        for place, row in enumerate(rows):
            places.setdefault(_identity(row, self._identity), place)
        found: dict[int, str] = {}
        for wait_seconds in ASK_WAITS_SECONDS:
            await asyncio.sleep(wait_seconds)
            try:
                reasons = await self._quarantine(since_seconds + wait_seconds)
            except QueryRefused as error:
                log.warning("the quarantine can't be read; give the token DATASOURCE:READ for it", error=str(error))
                break
            found = {places[identity]: why for identity, why in reasons.items() if identity in places}
            if len(found) >= count:
                return found
        return self._add_misfits(rows, found, count)

    async def has_row(self, row: bytes) -> bool:
        """Return whether a row is in the datasource; False if it can't be found out."""
        wanted = zip(self._key, _identity(row, self._key), strict=True)
        where = " AND ".join(f"{column} = {quoted(value or '')}" for column, value in wanted)
        sql = f"SELECT 1 AS found FROM {self._name} WHERE {where} LIMIT 1"  # noqa: S608 - names are our file's, values quoted
        try:
            return bool(await self._ask(sql))
        except QueryRefused as error:
            log.warning("the datasource can't be read; give the token DATASOURCE:READ for it", error=str(error))
            return False

    async def _ask(self, sql: str) -> list[Mapping[str, Any]]:
        """Repeat a query until it is answered, however long that takes: no decision is possible without the answer."""
        async for attempt in stamina.retry_context(
            on=RetryableError,
            attempts=None,
            timeout=None,
            wait_initial=RETRY_FIRST_WAIT_SECONDS,
            wait_max=RETRY_MAX_WAIT_SECONDS,
        ):
            with attempt:
                return await self._api.query(sql)
        raise AssertionError("unreachable: retries have no end")

    async def _quarantine(self, since_seconds: float) -> Mapping[Identity, str]:
        table = self._name + QUARANTINE_SUFFIX
        rows = await self._ask(
            f"SELECT {', '.join(self._identity)}, c__error_column, c__error FROM {table} "  # noqa: S608 - names are our file's
            f"WHERE insertion_date >= now() - {ceil(since_seconds) + SLACK_SECONDS} "
            f"ORDER BY insertion_date DESC LIMIT {MAX_FOUND_ROWS}",
        )
        return {tuple(row[column] for column in self._identity): _reason(row) for row in rows}

    def _add_misfits(self, rows: Sequence[bytes], found: dict[int, str], count: int) -> dict[int, str]:
        """Add the rows that don't fit the columns of our own file, as far as rows are missing."""
        for place, row in enumerate(rows):
            if len(found) >= count:
                break
            misfit = find_misfit(self._decoder, row) if place not in found else None
            if misfit is not None:
                found[place] = f"{misfit.column or 'row'}: {misfit.error}"
        return found


def _key_columns(datasource: Datasource) -> tuple[str, ...]:
    columns = tuple(column.strip() for column in datasource.sorting_key.split(","))
    version = datasource.version_column
    return (*columns, version) if version and version not in columns else columns


def _identity(row: bytes, columns: Sequence[str]) -> Identity:
    try:
        values = orjson.loads(row)
        return tuple(_as_text(values.get(column)) for column in columns)
    except (ValueError, AttributeError):
        return (None,) * len(columns)


def _as_text(value: Any) -> str | None:
    """Return a value as the quarantine's text columns have it."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _reason(row: Mapping[str, Any]) -> str:
    columns, errors = row["c__error_column"], row["c__error"]
    return f"{', '.join(columns) or 'row'}: {'; '.join(errors)}"
