"""A circuit lets one try for all while a datasource fails."""

import asyncio

import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.tinybird import metrics
from tracker.tinybird.circuit import STATES, Circuit


def shown(name: str) -> dict[str, float]:
    return {state: metrics.CIRCUIT.labels(name, state)._value.get() for state in STATES}


async def is_waiting(circuit: Circuit) -> bool:
    task = asyncio.ensure_future(circuit.wait_until_closed())
    await asyncio.sleep(0)
    task.cancel()
    return not task.done()


async def test_at_first_it_is_closed_and_nobody_waits():
    circuit = Circuit("c1")
    assert circuit.state == "closed"
    assert not await is_waiting(circuit)
    assert shown("c1") == {"closed": 1, "throttled": 0, "open": 0}


@pytest.mark.parametrize(("is_throttling", "state"), [(True, "throttled"), (False, "open")])
async def test_the_first_who_fails_tries_for_all_and_the_others_wait(is_throttling, state):
    circuit = Circuit("c2")
    assert circuit.trip(is_throttling=is_throttling)
    assert not circuit.trip(is_throttling=is_throttling)
    assert circuit.state == state
    assert await is_waiting(circuit)
    assert shown("c2")[state] == 1
    assert sum(shown("c2").values()) == 1


async def test_an_answer_lets_everybody_go():
    circuit = Circuit("c3")
    circuit.trip(is_throttling=False)
    waiting = [asyncio.ensure_future(circuit.wait_until_closed()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    circuit.answered()
    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)
    assert circuit.state == "closed"


async def test_who_gives_up_leaves_the_trying_to_the_next():
    circuit = Circuit("c4")
    circuit.trip(is_throttling=False)
    circuit.give_up()
    assert not await is_waiting(circuit)
    assert circuit.trip(is_throttling=False)
