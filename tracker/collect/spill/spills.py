"""All spills of this process: its own, and those that processes which have ended have left behind."""

import asyncio
from pathlib import Path

import structlog

from tracker import clock
from tracker.collect.metrics import SpillMetrics
from tracker.collect.spill.directories import SpillDirectories
from tracker.collect.spill.queue import Spill
from tracker.errors import ConfigurationError
from tracker.processes.supervised_tasks import SupervisedTasks

log = structlog.get_logger()


class Spills:
    """The spills, oldest first. Records are appended to ``own``, the last one."""

    def __init__(self, directories: SpillDirectories, max_bytes: int, metrics: SpillMetrics) -> None:
        self._directories = directories
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._tasks: SupervisedTasks
        self._orphans: list[Spill] = []
        self.own: Spill

    async def open(self, tasks: SupervisedTasks) -> None:
        """Open the spill of this process, and take over those that were left behind.

        Raises:
            ConfigurationError: the directory can't be used.
        """
        self._tasks = tasks
        self._metrics.max_bytes.set(self._max_bytes)
        self.own = await self._open(self._directories.claim())
        await self.adopt()

    async def adopt(self) -> str | None:
        """Take over spills whose process has ended; return the name of one that has records, if there is one.

        Raises:
            OSError: their directory can't be read.
        """
        found = None
        for path in self._directories.claim_orphans():
            try:
                spill = await self._open(path)
            except ConfigurationError as error:
                log.error("another process's spill could not be taken over", path=str(path), reason=str(error))
                continue
            if spill.records:
                self._orphans.append(spill)
                found = path.name
            else:
                await self._remove(spill)
        return found

    @property
    def records(self) -> int:
        """Records that wait."""
        return sum(spill.records for spill in self._all)

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest record has waited."""
        accepted = [spill.oldest_ms for spill in self._all if spill.oldest_ms is not None]
        return max(0, clock.now_ms() - min(accepted)) / 1_000 if accepted else 0.0

    @property
    def oldest(self) -> Spill:
        """The spill that is drained first."""
        return self._all[0]

    async def remove(self, spill: Spill) -> None:
        """Remove an empty spill that was taken over."""
        self._orphans.remove(spill)
        await self._remove(spill)

    def update_metrics(self, *, is_draining: bool) -> None:
        """Set the gauges."""
        self._metrics.records.set(self.records)
        self._metrics.bytes.set(sum(spill.size_bytes for spill in self._all))
        self._metrics.oldest_age_seconds.set(self.oldest_age_seconds)
        self._metrics.draining.set(is_draining and self.records > 0)

    async def close(self) -> None:
        """Close all spills; their records stay on disk."""
        for spill in self._all:
            if spill.records:
                log.warning(
                    "records stay in the spill until the next start",
                    path=str(spill.path),
                    records=spill.records,
                    bytes=spill.size_bytes,
                )
            await spill.close()
        self._directories.release()

    @property
    def _all(self) -> list[Spill]:
        return [*self._orphans, self.own]

    async def _open(self, path: Path) -> Spill:
        return await Spill.open(path, self._max_bytes, self._metrics, self._tasks)

    async def _remove(self, spill: Spill) -> None:
        await spill.close()
        await asyncio.to_thread(self._directories.remove, spill.path)
