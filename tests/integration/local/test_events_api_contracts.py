"""The real client in front of the local Tinybird keeps the contracts that the sink's double keeps."""

import pytest
from pydantic import SecretStr

from tests.fixtures.tinybird import LocalTinybird
from tests.unit.tinybird.events_api_double import EVENTS_API_CONTRACTS
from tracker.tinybird.events_api import EventsApi


@pytest.mark.parametrize("contract", EVENTS_API_CONTRACTS, ids=lambda contract: contract.__name__)
async def test_the_local_tinybird(contract, local_tinybird: LocalTinybird):
    async with EventsApi(local_tinybird.url, SecretStr(local_tinybird.token)) as api:
        await contract(api)
