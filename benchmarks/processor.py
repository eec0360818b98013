"""A processor under measurement: the process stage as it is deployed, and how to ask it whether it is ready."""

from typing import Any, Final

import aiohttp

from benchmarks.measure import Worker
from benchmarks.watch import wait_until
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

READY_TIMEOUT_SECONDS: Final = 180.0


class Processor(Worker):
    """``tracker process`` on its own data directory."""

    def __init__(self, settings: Settings, worker_id: str = "worker-1", **environment: str) -> None:
        """``environment`` adds to what the settings say, or differs from it."""
        self._port = free_port()
        every = {
            "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
            "TRACKER_PARTITIONS": str(settings.partitions),
            "TRACKER_DATA_DIR": str(settings.data_dir),
            "TRACKER_WORKER_ID": worker_id,
            "TRACKER_PROCESS_PORT": str(self._port),
        }
        super().__init__(worker_id, ["-m", "tracker", "process"], {**every, **environment}, settings.data_dir)

    async def leases(self) -> int:
        """Return how many partitions it may fold; 0 while it does not answer."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://{LOOPBACK}:{self._port}/healthz") as answer:
                health: dict[str, Any] = await answer.json()
                return int(health["partitions"])
        except aiohttp.ClientError:
            return 0

    async def metric(self, name: str) -> float | None:
        """Return a figure of its own that has no labels; None while it does not answer."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://{LOOPBACK}:{self._port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:
            return None
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)

    async def wait_until_ready(self, partitions: int) -> None:
        """Wait until it may fold that many partitions.

        Raises:
            WorkerFailedError: it ended, or was not ready in READY_TIMEOUT_SECONDS.
        """

        async def is_ready() -> bool:
            return await self.leases() >= partitions

        await wait_until(self, is_ready, READY_TIMEOUT_SECONDS, f"{self.name} was not ready in time")
