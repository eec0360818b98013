"""A client of Tinybird's Events API that takes no answer lightly. Usable on its own: see docs/tinybird-client.md.

async with TinybirdClient("https://api.tinybird.co", token) as tinybird:
outcome = await tinybird.batch_ingest_events(events)
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import msgspec
import orjson
from pydantic import SecretStr

from topics.event import EventData
from topics.session import SessionRow
from tracker.datasources.files import shipped_datasources
from tracker.datasources.rows import find_misfit, row_decoder
from tracker.errors import ConfigurationError, RejectedError
from tracker.tinybird.circuit import Circuit
from tracker.tinybird.delivery import Delivery, Outcome
from tracker.tinybird.events_api import REQUEST_TIMEOUT_SECONDS, EventsApi
from tracker.tinybird.lookup import Lookup
from tracker.tinybird.pacing import ApiLimits

EVENTS: Final = "events_v1"
SESSIONS: Final = "session_v1"
USAGE: Final = "usage_v1"
#: An error about a thousand rows needs no thousand lines.
MAX_SHOWN_ROWS: Final = 5

_JSON_OPTIONS: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


class InvalidRows(RejectedError):  # noqa: N818 - a verdict on the caller's rows
    """Rows that don't fit their datasource's columns. Nothing was sent. ``problems`` has one text for each place."""

    def __init__(self, datasource: str, problems: Mapping[int, str]) -> None:
        shown = [f"row {place}: {problem}" for place, problem in list(problems.items())[:MAX_SHOWN_ROWS]]
        more = [f"and {len(problems) - MAX_SHOWN_ROWS} more"] if len(problems) > MAX_SHOWN_ROWS else []
        super().__init__(f"{datasource}: " + "; ".join([*shown, *more]))
        self.datasource = datasource
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of events and of their session: each datasource has its own outcome, or its own error."""

    events: Outcome | BaseException
    session: Outcome | BaseException


class TinybirdClient:
    """Appends rows to this project's datasources. An async context manager; safe for concurrent calls.

    ``events`` and ``sessions`` may name other datasources with the columns of ``events_v1`` and ``session_v1``.

    Requests are gzipped NDJSON with ``wait=true`` over kept connections, at no more than the limits' pace. What passes
    (rate limits, server errors, time-outs, resets) is retried without end: bound it with ``asyncio.timeout``.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr | str,
        *,
        limits: ApiLimits | None = None,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        events: str = EVENTS,
        sessions: str = SESSIONS,
    ) -> None:
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        self._limits = limits or ApiLimits()
        self._api = EventsApi(url, secret, timeout_seconds)
        self._open = AsyncExitStack()
        shipped = shipped_datasources()
        self._events = replace(shipped[EVENTS], name=events)
        self._sessions = replace(shipped[SESSIONS], name=sessions)
        datasources = (self._events, self._sessions, shipped[USAGE])
        self._decoders = {datasource.name: row_decoder(datasource) for datasource in datasources}
        self._deliveries = {
            datasource.name: Delivery(self._api, datasource.name, self._limits, Lookup(self._api, datasource))
            for datasource in datasources
        }

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._api)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def circuit(self, datasource: str) -> Circuit:
        """Return whether a datasource answers at present."""
        return self._delivery(datasource).circuit

    async def batch_ingest_events(self, events: Sequence[EventData]) -> Outcome:
        """Append numbered events to ``events_v1``, in as few requests as the limits allow.

        Raises:
            InvalidRows: some don't fit the datasource; nothing was sent.
            ConfigurationError: token, address or datasource are wrong; says what to fix.
        """
        return await self._ingest(self._events.name, events)

    async def ingest_sessions(self, sessions: Sequence[SessionRow]) -> Outcome:
        """Append rows to ``session_v1``. Raises what ``batch_ingest_events`` raises."""
        return await self._ingest(self._sessions.name, sessions)

    async def ingest_events_and_session(self, events: Sequence[EventData], session: SessionRow) -> Outcomes:
        """Append events and their session's row. The API takes one datasource a request: both go at the same time.

        One can fail and the other not; sending both again is safe, because rows that are there collapse.

        Raises:
            InvalidRows: some don't fit; nothing was sent.
        """
        names = self._events.name, self._sessions.name
        packed = self._pack(names[0], events), self._pack(names[1], [session])
        of_events, of_session = await asyncio.gather(*map(self._send, names, packed), return_exceptions=True)
        return Outcomes(of_events, of_session)

    async def send_rows(self, datasource: str, rows: Sequence[bytes]) -> Outcome:
        """Append rows that are JSON already, one object each, in one request if they fit into one.

        Raises:
            ConfigurationError: token, address or datasource are wrong; says what to fix.
        """
        return await self._delivery(datasource).send(rows)

    async def _ingest(self, datasource: str, rows: Sequence[Mapping[str, Any]]) -> Outcome:
        return await self._send(datasource, self._pack(datasource, rows))

    async def _send(self, datasource: str, rows: Sequence[bytes]) -> Outcome:
        total = Outcome()
        sent_rows = 0
        for part in cut(rows, self._limits.request_max_bytes):
            total.add(await self._delivery(datasource).send(part), sent_rows)
            sent_rows += len(part)
        return total

    def _delivery(self, datasource: str) -> Delivery:
        delivery = self._deliveries.get(datasource)
        if delivery is None:
            raise ConfigurationError(f"there is no datasource {datasource}; there are {', '.join(self._deliveries)}")
        return delivery

    def _pack(self, datasource: str, rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """Serialise rows and hold each to the columns of the datasource's file."""
        packed = [orjson.dumps(row, option=_JSON_OPTIONS) for row in rows]
        decoder = self._decoders[datasource]
        problems = {place: _problem(decoder, row) for place, row in enumerate(packed)}
        bad = {place: problem for place, problem in problems.items() if problem is not None}
        if bad:
            raise InvalidRows(datasource, bad)
        return packed


def _problem(decoder: msgspec.json.Decoder[Any], row: bytes) -> str | None:
    misfit = find_misfit(decoder, row)
    return None if misfit is None else f"{misfit.column or 'row'}: {misfit.error}"


def cut(rows: Sequence[bytes], max_bytes: int) -> Iterator[Sequence[bytes]]:
    """Cut rows into parts of at most so many bytes of NDJSON; a larger row is a part by itself."""
    start, size_bytes = 0, 0
    for place, row in enumerate(rows):
        row_bytes = len(row) + 1
        if place > start and size_bytes + row_bytes > max_bytes:
            yield rows[start:place]
            start, size_bytes = place, 0
        size_bytes += row_bytes
    if start < len(rows):
        yield rows[start:]
