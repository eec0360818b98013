"""Rows end in one of two ways: Tinybird has them, or the right ones are turned away, whatever it answers meanwhile."""

import asyncio
from collections import deque

import pytest
import tenacity

from tests.simulation.environment import Environment
from tests.unit.tinybird.events_api_double import (
    DATASOURCE,
    EVENTS_API_CONTRACTS,
    ApiDouble,
    strict_double,
)
from tests.virtual_time import new_environment, run_virtually, until, virtual_monotonic
from tracker.errors import ConfigurationError
from tracker.tinybird import delivery as delivery_module
from tracker.tinybird import metrics
from tracker.tinybird import pacing as pacing_module
from tracker.tinybird.answers import IngestResult, RowsRefused, RowsTooLarge, TinybirdUnavailable
from tracker.tinybird.circuit import STATES
from tracker.tinybird.delivery import Delivery, Outcome, TurnedAway
from tracker.tinybird.events_api import RETRY_FIRST_WAIT_SECONDS, RETRY_MAX_WAIT_SECONDS
from tracker.tinybird.pacing import ApiLimits

ENOUGH = ApiLimits(requests_per_second=100_000, bytes_per_second=10**9, request_max_bytes=10**6)


@pytest.mark.parametrize("contract", EVENTS_API_CONTRACTS, ids=lambda contract: contract.__name__)
async def test_the_double(contract):
    await contract(strict_double())


class LookupDouble:
    """Knows what it is told to."""

    def __init__(self) -> None:
        self.there: set[bytes] = set()
        self.quarantined: dict[bytes, str] = {}
        self.asked: list[tuple[int, int, float]] = []

    async def has_row(self, row: bytes) -> bool:
        return row in self.there

    async def find_quarantined(self, rows, count: int, since_seconds: float) -> dict[int, str]:
        self.asked.append((len(rows), count, since_seconds))
        return {place: self.quarantined[row] for place, row in enumerate(rows) if row in self.quarantined}


class Sending:
    """A delivery with its doubles, in virtual time."""

    def __init__(self, environment: Environment, limits: ApiLimits) -> None:
        self.env = environment
        self.api, self.lookup = ApiDouble(), LookupDouble()
        self.delivery = Delivery(self.api, DATASOURCE, limits, self.lookup)  # type: ignore[arg-type]

    async def one_by_one(self, rows) -> list[float]:
        """Send each row in a request of its own; when each was written, in seconds from now."""
        began, times = self.env.loop.time(), []
        for row in rows:
            await self.delivery.send([row])
            times.append(self.env.loop.time() - began)
        return times


def delivery_test(limits: ApiLimits = ENOUGH):
    def decorate(test):
        def run() -> None:
            environment = new_environment()

            async def sending() -> None:
                await test(Sending(environment, limits))

            with virtual_monotonic(environment, delivery_module, pacing_module):
                run_virtually(environment, sending)

        run.__name__ = test.__name__
        return run

    return decorate


ROWS = [b'{"n":%d}' % n for n in range(7)]


def refuse(*bad: bytes, error: type[Exception] = RowsRefused, **options):
    return lambda rows: error("no", **options) if any(row in bad for row in rows) else None


def states() -> dict[str, float]:
    return {state: metrics.CIRCUIT.labels(DATASOURCE, state)._value.get() for state in STATES}


def value(metric) -> float:
    return metric.labels(DATASOURCE)._value.get()


@delivery_test()
async def test_rows_that_are_taken_go_in_one_request(sending):
    before = value(metrics.ROWS)
    outcome = await sending.delivery.send(ROWS)
    assert sending.api.requests == [ROWS]
    assert outcome == Outcome(written_rows=7, paced_seconds=outcome.paced_seconds)
    assert value(metrics.ROWS) == before + 7


@delivery_test()
async def test_no_rows_are_no_request(sending):
    assert (await sending.delivery.send([])).written_rows == 0
    assert sending.api.requests == []


@pytest.mark.parametrize("bad", [(0,), (3,), (6,), (2, 3), (0, 1, 2, 3, 4, 5, 6)])
def test_the_bad_rows_are_turned_away_by_their_own_place_and_all_others_are_written(bad):
    @delivery_test()
    async def test(sending) -> None:
        sending.api.is_refused = refuse(*(ROWS[place] for place in bad))
        outcome = await sending.delivery.send(ROWS)
        assert outcome.turned_away == [TurnedAway(place, "refused", "no") for place in bad]
        assert sending.api.written == [row for place, row in enumerate(ROWS) if place not in bad]
        assert outcome.written_rows == 7 - len(bad)
        assert outcome.too_large_bytes is None

    test()


@delivery_test()
async def test_rows_that_are_too_many_go_in_halves_and_the_smallest_size_that_did_not_fit_is_known(sending):
    sending.api.is_refused = lambda rows: RowsTooLarge("413") if len(rows) > 2 else None
    outcome = await sending.delivery.send(ROWS)
    assert sending.api.written == ROWS
    assert [len(rows) for rows in sending.api.requests] == [7, 3, 1, 2, 4, 2, 2]
    assert outcome.too_large_bytes == 3 * len(ROWS[0]) + 3
    assert outcome.turned_away == []


@delivery_test(ApiLimits(100_000, 10**9, 20))
async def test_a_row_that_no_request_may_hold_is_turned_away_unsent(sending):
    rows = [ROWS[0], b"x" * 21, b"y" * 20]
    outcome = await sending.delivery.send(rows)
    assert [(row.place, row.reason) for row in outcome.turned_away] == [(1, "oversized")]
    assert "21 bytes; a request may have 20" in outcome.turned_away[0].detail
    assert sending.api.written == [rows[0], rows[2]]
    assert outcome.too_large_bytes == 22


# 422: a materialized view failed


@delivery_test()
async def test_a_row_that_is_there_although_a_view_failed_is_written(sending):
    sending.api.is_refused = refuse(ROWS[2], may_be_written=True)
    sending.lookup.there.add(ROWS[2])
    outcome = await sending.delivery.send(ROWS)
    assert (outcome.written_rows, outcome.turned_away) == (7, [])


@delivery_test()
async def test_a_row_that_is_not_there_after_a_view_failed_is_turned_away(sending):
    sending.api.is_refused = refuse(ROWS[2], may_be_written=True)
    outcome = await sending.delivery.send(ROWS)
    assert [row.place for row in outcome.turned_away] == [2]


@delivery_test()
async def test_a_row_that_is_refused_as_such_is_not_looked_for(sending):
    sending.api.is_refused = refuse(ROWS[2])
    sending.lookup.there.add(ROWS[2])
    assert [row.place for row in (await sending.delivery.send(ROWS)).turned_away] == [2]


# Quarantine


@delivery_test()
async def test_quarantined_rows_are_found_by_their_place_among_all_that_were_sent(sending):
    before = [value(metrics.QUARANTINED), value(metrics.UNIDENTIFIED)]
    sending.api.is_refused = refuse(ROWS[0])  # so that what follows goes in parts
    sending.api.quarantines = lambda row: row in (ROWS[4], ROWS[6])
    sending.lookup.quarantined = {ROWS[4]: "n: not a number", ROWS[6]: "n: no"}
    outcome = await sending.delivery.send(ROWS)
    assert {(row.place, row.detail) for row in outcome.turned_away} == {
        (0, "no"),
        (4, "quarantined: n: not a number"),
        (6, "quarantined: n: no"),
    }
    assert (outcome.written_rows, outcome.quarantined_rows) == (4, 2)
    assert [value(metrics.QUARANTINED), value(metrics.UNIDENTIFIED)] == [before[0] + 2, before[1]]
    assert sum(count for _, count, _ in sending.lookup.asked) == 2


@delivery_test()
async def test_a_quarantined_row_that_is_not_found_is_counted(sending):
    before = value(metrics.UNIDENTIFIED)
    sending.api.quarantines = lambda row: row in (ROWS[4], ROWS[6])
    sending.lookup.quarantined = {ROWS[4]: "n: no"}
    outcome = await sending.delivery.send(ROWS)
    assert [row.place for row in outcome.turned_away] == [4]
    assert value(metrics.UNIDENTIFIED) == before + 1


@delivery_test()
async def test_more_found_than_counted_is_none_missing(sending):
    before = value(metrics.UNIDENTIFIED)
    sending.api.quarantines = lambda row: row == ROWS[4]
    sending.lookup.quarantined = {ROWS[4]: "n: no", ROWS[5]: "n: no"}
    assert [row.place for row in (await sending.delivery.send(ROWS)).turned_away] == [4, 5]
    assert value(metrics.UNIDENTIFIED) == before


# Away


@delivery_test()
async def test_what_passes_is_tried_again_with_the_same_bytes_and_growing_waits(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer")] * 12)
    began = sending.env.loop.time()
    outcome = await sending.delivery.send(ROWS)
    assert not sending.api.faults
    assert (outcome.written_rows, outcome.was_held_up) == (7, True)
    assert len(set(sending.api.bodies)) == 1
    assert len(sending.api.bodies) == 13
    took = sending.env.loop.time() - began
    assert 5 < took < 12 * RETRY_MAX_WAIT_SECONDS
    assert sending.delivery.circuit.state == "closed"


@delivery_test()
async def test_after_the_first_failure_it_is_not_tried_again_at_once(sending):
    for _ in range(60):  # a random time is added to the wait
        sending.api.faults = deque([TinybirdUnavailable("no answer")])
        began = sending.env.loop.time()
        await sending.delivery.send(ROWS[:1])
        assert not sending.api.faults
        assert sending.env.loop.time() - began >= RETRY_FIRST_WAIT_SECONDS


@delivery_test()
async def test_the_circuit_says_what_the_last_failure_was(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer"), TinybirdUnavailable("429", 50.0, is_throttling=True)])
    send = asyncio.ensure_future(sending.delivery.send(ROWS))
    await asyncio.sleep(0.01)
    assert sending.delivery.circuit.state == "open"
    assert states() == {"closed": 0, "throttled": 0, "open": 1}
    await until(lambda: not sending.api.faults)
    assert sending.delivery.circuit.state == "throttled"
    await send
    assert states() == {"closed": 1, "throttled": 0, "open": 0}


@delivery_test()
async def test_the_circuit_says_what_the_last_failure_was_whichever_request_met_it(sending):
    async def too_fast_in_a_moment(_) -> IngestResult:
        await asyncio.sleep(0.1)
        raise TinybirdUnavailable("429", is_throttling=True)

    sending.api.faults = deque([too_fast_in_a_moment, TinybirdUnavailable("no answer", 50.0)])
    sends = [asyncio.ensure_future(sending.delivery.send([row])) for row in ROWS[:2]]
    await until(lambda: not sending.api.faults)
    assert sending.delivery.circuit.state == "open"
    await asyncio.sleep(0.2)
    assert sending.delivery.circuit.state == "throttled"
    await asyncio.gather(*sends)


@delivery_test()
async def test_a_wait_that_tinybird_asks_for_is_kept(sending):
    sending.api.faults = deque([TinybirdUnavailable("429", 50.0, is_throttling=True)])
    began = sending.env.loop.time()
    await sending.delivery.send(ROWS)
    assert 50 <= sending.env.loop.time() - began < 51


@delivery_test()
async def test_an_answer_that_counts_other_rows_is_not_believed(sending):
    async def miscounting(rows) -> IngestResult:
        return IngestResult(len(rows) - 1, 0)

    sending.api.faults = deque([miscounting])
    outcome = await sending.delivery.send(ROWS)
    assert len(sending.api.requests) == 2
    assert (outcome.written_rows, outcome.was_held_up) == (7, True)


@delivery_test()
async def test_quarantined_rows_count_as_answered(sending):
    sending.api.quarantines = lambda row: row == ROWS[4]
    await sending.delivery.send(ROWS)
    assert len(sending.api.requests) == 1


@delivery_test()
async def test_while_it_fails_one_request_tries_for_all_and_then_all_go(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer")] * 4)
    sends = [asyncio.ensure_future(sending.delivery.send([row])) for row in ROWS]
    await asyncio.sleep(0.01)
    failed_first = len(sending.api.requests)
    await asyncio.sleep(0.1)
    assert len(sending.api.requests) == failed_first
    assert sending.delivery.circuit.state == "open"
    await asyncio.gather(*sends)
    assert not sending.api.faults
    assert sorted(sending.api.written) == ROWS
    assert sending.delivery.circuit.state == "closed"


@delivery_test()
async def test_a_refusal_is_an_answer_and_closes_the_circuit(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer"), RowsRefused("no")])
    outcome = await asyncio.wait_for(sending.delivery.send([ROWS[0]]), 60)
    assert [row.place for row in outcome.turned_away] == [0]
    assert sending.delivery.circuit.state == "closed"
    assert (await asyncio.wait_for(sending.delivery.send([ROWS[1]]), 60)).written_rows == 1


@delivery_test()
async def test_after_what_does_not_pass_others_may_try_too(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer"), ConfigurationError("token"), ConfigurationError("x")])
    first = asyncio.ensure_future(sending.delivery.send([ROWS[0]]))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(sending.delivery.send([ROWS[1]]))
    for send in (first, second):
        with pytest.raises(ConfigurationError):
            await asyncio.wait_for(send, 60)
    assert not sending.api.faults


@delivery_test()
async def test_throttled_is_not_open(sending):
    sending.api.faults = deque([TinybirdUnavailable("429", 5.0, is_throttling=True)])
    send = asyncio.ensure_future(sending.delivery.send(ROWS))
    await asyncio.sleep(1)
    assert sending.delivery.circuit.state == "throttled"
    await send


@delivery_test(ApiLimits(10, 10**9, 10**6))
async def test_the_pace_is_kept_and_the_time_that_it_cost_is_told(sending):
    before = value(metrics.PACED_SECONDS)
    began = sending.env.loop.time()
    outcomes = [await sending.delivery.send([row]) for row in ROWS * 3]
    took = sending.env.loop.time() - began
    assert took == pytest.approx(16 / 10, abs=0.05)  # 5 at once, then 10 a second
    paced = sum(outcome.paced_seconds for outcome in outcomes)
    assert paced == pytest.approx(took, abs=0.05)
    assert value(metrics.PACED_SECONDS) - before == pytest.approx(paced)
    assert not any(outcome.was_held_up for outcome in outcomes)


@delivery_test(ApiLimits(1, 10**9, 10**6))
async def test_a_limit_of_one_request_a_second_lets_no_two_go_together(sending):
    assert await sending.one_by_one(ROWS[:3]) == pytest.approx([0, 1, 2], abs=0.05)


@delivery_test(ApiLimits(100_000, 1_000, 2_000))
async def test_the_pace_of_bytes_is_kept_and_counts_them_as_they_are_before_packing(sending):
    began = sending.env.loop.time()
    for _ in range(20):
        await sending.delivery.send([b"x" * 1_500])
    assert sum(map(len, sending.api.bodies)) < 1_000
    assert sending.env.loop.time() - began == pytest.approx((1_500 * 20 - 2_000) / 1_000, rel=0.05)


@delivery_test()
async def test_what_the_headers_leave_is_obeyed(sending):
    sending.api.answer_headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}
    await sending.delivery.send([ROWS[0]])
    sending.api.answer_headers = {}
    began = sending.env.loop.time()
    outcome = await sending.delivery.send([ROWS[1]])
    assert sending.env.loop.time() - began == pytest.approx(30, abs=0.01)
    assert outcome.paced_seconds == pytest.approx(30, abs=0.01)


@delivery_test()
async def test_requests_under_way_are_taken_off_what_the_headers_leave(sending):
    """The answer that leaves three may not have counted the other two: one more may go."""
    release = asyncio.Event()

    async def slow(rows) -> IngestResult:
        await release.wait()
        return IngestResult(len(rows), 0)

    sending.api.faults = deque([slow, slow])
    slow_ones = [asyncio.ensure_future(sending.delivery.send([row])) for row in ROWS[:2]]
    await asyncio.sleep(0.1)
    assert sending.api.under_way == 2
    sending.api.answer_headers = {"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "30"}
    await sending.delivery.send([ROWS[2]])
    sending.api.answer_headers = {}
    assert [round(each) for each in await sending.one_by_one(ROWS[3:5])] == [0, 30]
    release.set()
    await asyncio.gather(*slow_ones)


@delivery_test()
async def test_requests_that_have_ended_are_not_under_way_any_more(sending):
    for row in ROWS[:3]:
        await sending.delivery.send([row])
    sending.api.answer_headers = {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"}
    await sending.delivery.send([ROWS[3]])
    sending.api.answer_headers = {}
    assert [round(each) for each in await sending.one_by_one(ROWS[4:6])] == [0, 30]


@delivery_test(ApiLimits(10, 10**9, 10**6))
async def test_the_waits_of_all_requests_of_a_search_are_added_up(sending):
    sending.api.is_refused = refuse(ROWS[0], ROWS[3], ROWS[6])
    began = sending.env.loop.time()
    outcome = await sending.delivery.send(ROWS)
    took = sending.env.loop.time() - began
    assert took > 0.5
    assert outcome.paced_seconds == pytest.approx(took, abs=0.01)


@delivery_test()
async def test_a_row_is_looked_for_from_the_time_on_that_its_request_began(sending):
    async def slow(rows) -> IngestResult:
        await asyncio.sleep(7)
        return IngestResult(len(rows) - 1, 1)

    await asyncio.sleep(100)
    sending.api.faults = deque([slow])
    await sending.delivery.send(ROWS)
    ((_, _, since_seconds),) = sending.lookup.asked
    assert since_seconds == pytest.approx(7, abs=0.1)


@delivery_test()
async def test_quarantined_rows_of_all_parts_are_added_up(sending):
    sending.api.is_refused = lambda rows: RowsTooLarge("413") if len(rows) > 4 else None
    sending.api.quarantines = lambda row: row in (ROWS[0], ROWS[6])
    outcome = await sending.delivery.send(ROWS)
    assert (outcome.written_rows, outcome.quarantined_rows) == (5, 2)


@delivery_test()
async def test_it_is_tried_without_end_soon_at_first_and_then_now_and_then(sending):
    sending.api.faults = deque([TinybirdUnavailable("no answer")] * 60)
    began = sending.env.loop.time()
    with virtual_monotonic(sending.env, tenacity.time):
        send = asyncio.ensure_future(sending.delivery.send(ROWS))
        await asyncio.sleep(2 * RETRY_FIRST_WAIT_SECONDS + 1)
        assert len(sending.api.requests) > 1
        await send
    assert 0.8 < (sending.env.loop.time() - began) / (60 * RETRY_MAX_WAIT_SECONDS) < 1
    assert sending.api.written == ROWS


def test_outcomes_are_added_up_with_the_places_of_those_before():
    outcome = Outcome(
        written_rows=2, quarantined_rows=1, turned_away=[TurnedAway(1, "refused", "a")], too_large_bytes=9
    )
    other = Outcome(1, 2, [TurnedAway(0, "refused", "b")], paced_seconds=1.5, was_held_up=True, too_large_bytes=7)
    outcome.add(other, places_before=3)
    assert outcome == Outcome(
        3, 3, [TurnedAway(1, "refused", "a"), TurnedAway(3, "refused", "b")], 1.5, was_held_up=True, too_large_bytes=7
    )
    outcome.add(Outcome(), places_before=4)
    assert (outcome.too_large_bytes, outcome.was_held_up) == (7, True)


def test_all_rows_are_required_only_where_that_is_asked_for():
    Outcome(written_rows=1).require_all()
    with pytest.raises(RowsRefused, match="2 rows were not taken, the first because a"):
        Outcome(turned_away=[TurnedAway(1, "refused", "a"), TurnedAway(2, "refused", "b")]).require_all()
