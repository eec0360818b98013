"""A Tinybird that can be told what to answer, for each test its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import stamina

from tests.integration.sink.tinybird_double import TinybirdDouble, tinybird_double

#: Far more than any test needs: the client itself knows no end.
TRIES_MAX = 1_000


@pytest.fixture
async def double() -> AsyncIterator[TinybirdDouble]:
    async with tinybird_double() as running:
        yield running


@pytest.fixture
def without_waits() -> Iterator[None]:
    """Retries follow at once."""
    with stamina.set_testing(True, attempts=TRIES_MAX):
        yield
