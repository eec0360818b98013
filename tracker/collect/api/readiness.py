"""Whether events can be accepted now, and where they go."""

import asyncio
import time
from typing import Any, Final

from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.errors import RequestError
from tracker.migration.flags import Flags
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.processes.watched_file import WatchedFile

#: Anybody may ask, and each answer costs a question to Kafka.
MAX_AGE_SECONDS: Final = 1.0


class Readiness:
    """Asks the parts of the collector. ``tasks`` is set while it runs."""

    def __init__(self, producer: SourceProducer, flags_file: WatchedFile[Flags] | None) -> None:
        self._producer = producer
        self._flags_file = flags_file
        self.tasks: SupervisedTasks | None = None
        self._asking: asyncio.Future[dict[str, Any]] | None = None
        self._asked = 0.0

    async def report(self) -> dict[str, Any]:
        """Return where events go now. The result is kept for about a second, however often this is called.

        Raises:
            RequestError: they can't be accepted; its message says why.
        """
        if self._asking is None or (self._asking.done() and time.monotonic() - self._asked >= MAX_AGE_SECONDS):
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(_retrieve)
            self._asked = time.monotonic()
        await asyncio.wait([self._asking])
        return self._asking.result()

    async def _ask(self) -> dict[str, Any]:
        if self.tasks is None:
            raise RequestError("unhealthy", "the collector is starting")
        failing = [f"{name}: {error}" for name, error in self.tasks.failing.items()]
        if failing:
            raise RequestError("unhealthy", "background tasks fail again and again", reasons=failing)
        report = {"status": "ready", **await self._producer.readiness()}
        if self._flags_file is not None and self._flags_file.problem is not None:
            report["migration"] = self._flags_file.problem
        return report


def _retrieve(asking: "asyncio.Future[dict[str, Any]]") -> None:
    """Mark an error as retrieved: the client that asked may have disconnected."""
    if not asking.cancelled():
        asking.exception()
