"""The sink's pages: what an orchestrator and Prometheus are told."""

import json

import aiohttp
import pytest
from aiokafka import TopicPartition

from tracker.errors import ConfigurationError
from tracker.local.ports import LOOPBACK, free_port
from tracker.observe.internal_token import InternalToken
from tracker.observe.pages import serving
from tracker.sink import metrics  # noqa: F401 - registers what the page shows
from tracker.sink.health import DatasourceHealth, details_of, problems_of
from tracker.streaming.lease import Lease, LeaseBook
from tracker.streaming.readiness import Readiness, pages_of

WELL = DatasourceHealth("events_v1", "closed", 0)


def joined(partitions: int) -> Readiness:
    readiness = Readiness()
    readiness.leases = LeaseBook()
    readiness.leases.expect(partitions)
    for number in range(partitions):
        readiness.leases.grant(Lease(TopicPartition("rows", number), 0, 0))
    return readiness


async def pages(readiness: Readiness, *datasources: DatasourceHealth) -> dict[str, tuple[int, str]]:
    port = free_port()
    found = pages_of(readiness, lambda: problems_of(datasources), lambda: details_of(datasources))
    async with (
        serving(found, LOOPBACK, port, token=InternalToken(""), port_setting="PORT"),
        aiohttp.ClientSession() as http,
    ):
        answers = {}
        for page in ("healthz", "readyz", "metrics"):
            async with http.get(f"http://{LOOPBACK}:{port}/{page}") as answer:
                answers[page] = answer.status, await answer.text()
        return answers


@pytest.mark.parametrize("circuit", ["closed", "throttled"])
async def test_a_sink_with_partitions_and_a_tinybird_that_answers_is_ready(circuit):
    found = await pages(joined(3), WELL, DatasourceHealth("session_v1", circuit, 5))
    assert [found[page][0] for page in ("healthz", "readyz")] == [200, 200]
    assert json.loads(found["readyz"][1])["datasources"]["session_v1"] == {"circuit": circuit, "held_bytes": 5}


async def test_a_sink_that_tinybird_fails_is_alive_and_not_ready_and_says_why():
    found = await pages(joined(3), WELL, DatasourceHealth("session_v1", "open", 0))
    assert found["healthz"][0] == 200
    assert found["readyz"][0] == 503
    assert "Tinybird fails for session_v1" in found["readyz"][1]


async def test_a_sink_without_a_group_yet_is_not_ready():
    assert (await pages(Readiness(), WELL))["readyz"][0] == 503


async def test_a_worker_whose_disk_is_full_or_that_recovers_is_not_ready_and_says_which_partition():
    readiness = joined(2)
    (lease, _) = readiness.leases.live()
    lease.waits_for_room = True
    assert readiness.problems == ["the disk is full; partition 0 waits"]
    readiness.leases.expect(3)
    assert readiness.problems[0] == "1 of 3 partitions are being recovered"
    readiness.leases.revoke_all()
    assert "evicted" in readiness.problems[0]


async def test_metrics_are_prometheuss():
    status, text = (await pages(joined(1), WELL))["metrics"]
    assert status == 200
    for name in ("tracker_sink_lag_records", "tracker_sink_circuit", "tracker_sink_latency_seconds"):
        assert f"# HELP {name}" in text


async def test_a_taken_port_names_the_setting():
    port = free_port()
    taken = {"token": InternalToken(""), "port_setting": "TRACKER_SINK_PORT"}
    async with serving({}, LOOPBACK, port, **taken):
        with pytest.raises(ConfigurationError, match=f"{port}.*TRACKER_SINK_PORT"):
            async with serving({}, LOOPBACK, port, **taken):
                pass
