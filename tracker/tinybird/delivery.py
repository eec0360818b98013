"""The way of rows into one datasource: paced, retried without end, split where too large, and searched for bad rows.

Each row ends in one of two ways: Tinybird has it, or it is turned away with Tinybird's own reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import stamina
import structlog

from topics.dead_letter import RejectReason
from tracker.tinybird import metrics
from tracker.tinybird.answers import (
    IngestResult,
    RowsRefused,
    RowsTooLarge,
    TinybirdUnavailable,
    read_rate_limit,
)
from tracker.tinybird.circuit import Circuit
from tracker.tinybird.events_api import RETRY_FIRST_WAIT_SECONDS, RETRY_MAX_WAIT_SECONDS, Body, EventsApi, pack
from tracker.tinybird.lookup import Lookup
from tracker.tinybird.pacing import ApiLimits, Pacer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A row that Tinybird does not take: its place among the rows that were sent, and why."""

    place: int
    reason: RejectReason
    detail: str


@dataclass(slots=True)
class Outcome:
    """The outcome of rows that were sent."""

    written_rows: int = 0
    quarantined_rows: int = 0
    turned_away: list[TurnedAway] = field(default_factory=list)
    #: Time that requests waited because of a rate limit, ours or Tinybird's.
    paced_seconds: float = 0.0
    #: Tinybird said 429, or did not answer well at first.
    was_held_up: bool = False
    #: The size of the smallest request that was too large, if one was.
    too_large_bytes: int | None = None

    def add(self, other: "Outcome", places_before: int) -> None:
        """Add the outcome of rows that come after ``places_before`` others."""
        self.written_rows += other.written_rows
        self.quarantined_rows += other.quarantined_rows
        self.turned_away += [replace(row, place=row.place + places_before) for row in other.turned_away]
        self.paced_seconds += other.paced_seconds
        self.was_held_up |= other.was_held_up
        sizes = [size for size in (self.too_large_bytes, other.too_large_bytes) if size is not None]
        self.too_large_bytes = min(sizes, default=None)

    def require_all(self) -> None:
        """Make sure that all rows are written.

        Raises:
            RowsRefused: some were turned away.
        """
        if self.turned_away:
            first = self.turned_away[0]
            raise RowsRefused(f"{len(self.turned_away)} rows were not taken, the first because {first.detail}")


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive ones of the rows that are sent."""

    rows: list[bytes]
    first_place: int

    def halves(self) -> "Iterator[_Part]":
        half = len(self.rows) // 2
        yield _Part(self.rows[:half], self.first_place)
        yield _Part(self.rows[half:], self.first_place + half)


class Delivery:
    """Sends rows to one datasource. Safe for concurrent calls: they share pace and circuit."""

    def __init__(self, api: EventsApi, datasource: str, limits: ApiLimits, lookup: Lookup) -> None:
        self.datasource = datasource
        self.circuit = Circuit(datasource)
        self._api = api
        self._limits = limits
        self._pacer = Pacer(limits)
        self._lookup = lookup

    async def send(self, rows: Sequence[bytes]) -> Outcome:
        """Send rows and return once each is written or refused. Retries passing errors without end.

        Raises:
            ConfigurationError: token or datasource are wrong; says what to fix. Some rows may be written.
        """
        outcome = Outcome()
        if rows:
            await self._send(_Part(list(rows), first_place=0), outcome)
        metrics.ROWS.labels(self.datasource).inc(outcome.written_rows)
        metrics.PACED_SECONDS.labels(self.datasource).inc(outcome.paced_seconds)
        return outcome

    async def _send(self, part: _Part, outcome: Outcome) -> None:
        """Send rows; where they are refused, halve until the ones at fault are alone.

        With k bad rows of n that takes at most 2 * k * log2(n) requests more than without.
        """
        began_seconds = monotonic()
        try:
            result = await self._append(part.rows, outcome)
        except (RowsTooLarge, RowsRefused) as error:
            if isinstance(error, RowsTooLarge):
                size_bytes = sum(map(len, part.rows)) + len(part.rows)
                outcome.too_large_bytes = min(size_bytes, outcome.too_large_bytes or size_bytes)
            if len(part.rows) == 1:
                await self._turn_away(part, error, outcome)
                return
            for half in part.halves():
                await self._send(half, outcome)
            return
        outcome.written_rows += result.successful_rows
        if result.quarantined_rows:
            await self._find_quarantined(part, result.quarantined_rows, monotonic() - began_seconds, outcome)

    async def _turn_away(self, part: _Part, error: RowsTooLarge | RowsRefused, outcome: Outcome) -> None:
        if isinstance(error, RowsRefused) and error.may_be_written and await self._lookup.has_row(part.rows[0]):
            outcome.written_rows += 1
            log.error(
                "a materialized view failed, though the row is in the datasource; mend the view and populate it anew",
                datasource=self.datasource,
                error=str(error),
            )
            return
        reason: RejectReason = "refused" if isinstance(error, RowsRefused) else "oversized"
        outcome.turned_away.append(TurnedAway(part.first_place, reason, str(error)))

    async def _find_quarantined(self, part: _Part, count: int, since_seconds: float, outcome: Outcome) -> None:
        metrics.QUARANTINED.labels(self.datasource).inc(count)
        outcome.quarantined_rows += count
        found = await self._lookup.find_quarantined(part.rows, count, since_seconds)
        outcome.turned_away += [
            TurnedAway(part.first_place + place, "refused", f"quarantined: {why}") for place, why in found.items()
        ]
        missing = max(0, count - len(found))
        log.error("Tinybird quarantined rows", datasource=self.datasource, rows=count, unidentified=missing)
        metrics.UNIDENTIFIED.labels(self.datasource).inc(missing)

    async def _append(self, rows: list[bytes], outcome: Outcome) -> IngestResult:
        """Have one request answered, however long that takes."""
        body = await pack(rows)
        if body.size_bytes > self._limits.request_max_bytes:
            raise RowsTooLarge(f"{body.size_bytes} bytes; a request may have {self._limits.request_max_bytes}")
        while True:
            await self.circuit.wait_until_closed()
            try:
                return await self._try(body, outcome)
            except TinybirdUnavailable as error:
                outcome.was_held_up = True
                if self.circuit.trip(is_throttling=error.is_throttling):
                    return await self._try_until_answered(body, outcome, error)

    async def _try_until_answered(self, body: Body, outcome: Outcome, failed: TinybirdUnavailable) -> IngestResult:
        """Try for all of this datasource's requests, with growing waits; ``failed`` was the first try."""
        first: TinybirdUnavailable | None = failed
        try:
            async for attempt in stamina.retry_context(
                on=self._wait_for,
                attempts=None,
                timeout=None,
                wait_initial=RETRY_FIRST_WAIT_SECONDS,
                wait_max=RETRY_MAX_WAIT_SECONDS,
            ):
                with attempt:
                    if first is not None:
                        error, first = first, None
                        raise error
                    return await self._try(body, outcome)
        finally:
            self.circuit.give_up()
        raise AssertionError("unreachable: retries have no end")

    async def _try(self, body: Body, outcome: Outcome) -> IngestResult:
        outcome.paced_seconds += await self._pacer.enter(body.size_bytes)
        try:
            result = await self._api.append(self.datasource, body, self._heed)
        except (RowsTooLarge, RowsRefused):
            self.circuit.answered()
            raise
        finally:
            self._pacer.leave()
        if result.successful_rows + result.quarantined_rows != body.rows:
            # Resending is safe, rows that are there collapse; committing would lose the others.
            raise TinybirdUnavailable(f"{body.rows} rows sent, but the answer counts {result}")
        self.circuit.answered()
        return result

    def _heed(self, headers: Mapping[str, str]) -> None:
        limit = read_rate_limit(headers)
        if limit is not None:
            self._pacer.heed(limit)

    def _wait_for(self, error: Exception) -> bool | float:
        if not isinstance(error, TinybirdUnavailable):
            return False
        self.circuit.trip(is_throttling=error.is_throttling)
        log.warning(
            "Tinybird can't take rows now; they stay in Kafka and are tried again",
            datasource=self.datasource,
            error=str(error),
        )
        return error.retry_after_seconds or True
