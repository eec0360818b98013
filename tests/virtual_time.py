"""Running a test of one part in the simulator's virtual time: no waiting, and no hanging either."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from tests.simulation.environment import Environment

#: Handles that such a test may take; more mean that it turns in circles.
MAX_HANDLES = 100_000
#: Virtual seconds; a test that waits for longer waits for ever.
TIMEOUT_SECONDS = 3_600.0


def new_environment() -> Environment:
    """A world in which nothing strikes but what the test itself makes strike."""
    return Environment(0, max_handles=MAX_HANDLES)


def run_virtually(environment: Environment, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test to its end, or fail if it has none, or if a callback raised what nothing caught."""

    async def limited() -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await test()

    environment.loop.run(limited())
    assert environment.loop.errors == []


async def until(condition: Callable[[], bool]) -> None:
    """Let virtual time pass until a condition holds."""
    while not condition():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)


@contextmanager
def virtual_monotonic(environment: Environment, *modules: ModuleType) -> Iterator[None]:
    """Have modules that import ``monotonic`` read virtual time meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "monotonic", environment.loop.time)
        yield
