"""Whether events can be accepted now, and where they go."""

from typing import Any

from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.errors import RequestError
from tracker.migration.flags import Flags
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.processes.watched_file import WatchedFile


class Readiness:
    """Asks the parts of the collector. ``tasks`` is set while it runs."""

    def __init__(self, producer: SourceProducer, flags_file: WatchedFile[Flags] | None) -> None:
        self._producer = producer
        self._flags_file = flags_file
        self.tasks: SupervisedTasks | None = None

    async def report(self) -> dict[str, Any]:
        """Return where events go now.

        Raises:
            RequestError: they can't be accepted; its message says why.
        """
        if self.tasks is None:
            raise RequestError("unhealthy", "the collector is starting")
        failing = [f"{name}: {error}" for name, error in self.tasks.failing.items()]
        if failing:
            raise RequestError("unhealthy", "background tasks fail again and again", reasons=failing)
        report = {"status": "ready", **await self._producer.readiness()}
        if self._flags_file is not None and self._flags_file.problem is not None:
            report["migration"] = self._flags_file.problem
        return report
