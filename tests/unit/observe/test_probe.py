"""``tracker health`` asks as an operator does, and takes no answer for more than it says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tracker.local.ports import LOOPBACK, free_port
from tracker.observe import probe
from tracker.observe.internal_token import InternalToken
from tracker.observe.pages import serving
from tracker.settings import Settings

SECRET = "s3cret-of-all-stages"


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(probe, "POLL_SECONDS", 0.01)


@asynccontextmanager
async def stage(token: str = "", **pages: Callable[[], web.Response]) -> AsyncIterator[Settings]:
    port = free_port()
    settings = Settings(
        _env_file=None, sink_port=port, collect_metrics_host="0.0.0.0", collect_metrics_port=port, internal_token=token
    )
    by_path = {f"/{name}": page for name, page in pages.items()}
    async with serving(by_path, LOOPBACK, port, token=InternalToken.of(settings), port_setting="PORT"):
        yield settings


def figures(left: list[tuple[int, str]]) -> Callable[[], web.Response]:
    """A metrics page that takes its answers from here one after the other; the last one stays."""

    def page() -> web.Response:
        status, text = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, text=text)

    return page


def spilled(records: float) -> tuple[int, str]:
    return 200, f"# HELP x\ntracker_collect_spill_records_old 9.0\ntracker_collect_spill_records {records}\nother 1.0\n"


EMPTY = spilled(0.0)


async def drained(seconds: float, *answers: tuple[int, str], token: str = "") -> int | None:
    async with stage(token, metrics=figures(list(answers))) as settings:
        return await asyncio.to_thread(probe.wait_for_empty_spill, settings, seconds)


@pytest.mark.parametrize("token", ["", SECRET])
async def test_reasons_are_shown_to_who_has_the_secret(token):
    state = {"status": "unavailable", "problems": ["Kafka is away"]}
    async with stage(token, readyz=lambda: web.json_response(state, status=503)) as settings:
        found = await asyncio.to_thread(probe.ask, settings, "sink", "/readyz")
    assert (found.status, found.is_well, found.reasons) == (503, False, ["Kafka is away"])


async def test_a_page_that_is_no_json_is_no_answer():
    async with stage(healthz=lambda: web.Response(text="<html>")) as settings:
        found = await asyncio.to_thread(probe.ask, settings, "sink", "/healthz")
    assert (found.status, found.reasons) == (0, ["nothing answers"])


@pytest.mark.parametrize("token", ["", SECRET])
async def test_a_spill_that_is_empty_is_waited_for(token):
    assert await drained(20, spilled(7.0), spilled(1.5e3), EMPTY, token=token) == 0


async def test_what_is_left_when_the_time_is_over_is_told():
    assert await drained(0.05, spilled(1.2e3)) == 1200


@pytest.mark.parametrize("answer", [(503, "tracker_collect_spill_records 0.0\n"), (200, "tracker_collect_other 0.0\n")])
async def test_a_page_that_refuses_or_has_no_figure_is_no_empty_spill(answer):
    assert await drained(0.05, answer) is None
    assert await drained(20, answer, EMPTY) == 0


async def test_a_collector_that_does_not_answer_has_no_empty_spill():
    settings = Settings(_env_file=None, collect_metrics_port=free_port())
    assert await asyncio.to_thread(probe.wait_for_empty_spill, settings, 0.05) is None


async def test_figures_from_before_the_last_second_are_not_believed_at_once():
    left = [EMPTY, EMPTY, EMPTY, spilled(2.0), EMPTY]
    async with stage(metrics=figures(left)) as settings:
        assert await asyncio.to_thread(probe.wait_for_empty_spill, settings, 20) == 0
    assert left == [EMPTY], "it asked until the figure came, and after it"
