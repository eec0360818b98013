"""A real pipeline and delivery in virtual time, in front of a double of the Events API."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord

from tests.unit.tinybird.events_api_double import ApiDouble
from tests.virtual_time import new_environment, run_virtually, virtual_monotonic
from tracker.sink import pipeline as pipeline_module
from tracker.sink.batches import Covered, Limits
from tracker.sink.pipeline import Bounds, Pipeline
from tracker.tinybird import delivery as delivery_module
from tracker.tinybird import pacing as pacing_module
from tracker.tinybird.delivery import Delivery
from tracker.tinybird.pacing import ApiLimits

DATASOURCE = "events_v1"
ENDLESS_WINDOW = Limits(max_rows=100, max_bytes=1_000_000, window_ms=10_000_000)


class NotedTracing:
    """Notes which batches were written, and whether they were written inside of their span."""

    def __init__(self, api: ApiDouble) -> None:
        self._api = api
        self.batches: list[tuple[str, list[int], int]] = []

    @contextmanager
    def batch(self, datasource: str, rows: Sequence[ConsumerRecord]) -> Iterator[None]:
        before = len(self._api.requests)
        yield
        self.batches.append((datasource, [row.offset for row in rows], len(self._api.requests) - before))


class Running:
    """A pipeline at work, and what it has told the outside."""

    def __init__(self, limits: Limits) -> None:
        self.env = new_environment()
        self.limits = limits
        self.api = ApiDouble()
        self.tracing = NotedTracing(self.api)
        self.letters: list[tuple[int, str]] = []
        self.commits: list[tuple[int, float]] = []
        self.commit_seconds = 0.0
        self.reject_seconds = 0.0
        self.pipeline: Pipeline
        self.task: asyncio.Task[None]

    async def _commit(self, covers: Sequence[Covered]) -> None:
        await asyncio.sleep(self.commit_seconds)
        self.commits += [(covered.next_offset, self.now) for covered in covers]

    async def _reject(self, record: ConsumerRecord, reason: str, _: str) -> None:
        await asyncio.sleep(self.reject_seconds)
        self.letters.append((record.offset, reason))

    @property
    def now(self) -> float:
        return self.env.loop.time()

    async def start(self) -> "asyncio.Task[None]":
        delivery = Delivery(self.api, DATASOURCE, ApiLimits(100_000, 10**9, 10**6), None)  # type: ignore[arg-type]
        client: Any = SimpleNamespace(
            circuit={DATASOURCE: delivery.circuit}.__getitem__, send_rows=lambda _, rows: delivery.send(rows)
        )
        self.pipeline = Pipeline(
            DATASOURCE,
            self.limits,
            Bounds(2, 10**8),
            client,
            reject=self._reject,
            commit=self._commit,
            tracing=self.tracing,  # type: ignore[arg-type]
        )
        return asyncio.ensure_future(self.pipeline.run())


def pipeline_test(
    limits: Limits = ENDLESS_WINDOW, *, ends: bool = False
) -> Callable[[Callable[[Running], Awaitable[None]]], Any]:
    """Make a test that gets a running pipeline with these limits, which runs on unless the test ends it."""

    def decorate(test: Callable[[Running], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            running = Running(limits)

            async def started() -> None:
                running.task = await running.start()
                await test(running)
                assert running.task.done() is ends
                running.task.cancel()

            with virtual_monotonic(running.env, pipeline_module, delivery_module, pacing_module):
                run_virtually(running.env, started)

        run.__name__ = test.__name__
        return run

    return decorate
