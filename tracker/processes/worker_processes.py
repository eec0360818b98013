"""Several workers of a stage on one machine: a parent that does no work but show how they are, and a child for each.

A child that ends by itself is started again, after a wait that doubles while it fails at its start. One that says that
its configuration is wrong ends all, with its exit code, as it would have ended alone: another start would change
nothing. The children have printed why.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from tracker.processes.children import Child
from tracker.processes.restarts import Restarts
from tracker.processes.signals import stop_event
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.processes.worker_pages import PagesAddress, WorkerPages

#: What a stage exits with when a person has to change something first.
EXIT_CONFIGURATION: Final = 1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker to run: its name in log lines, the port of its pages, and its environment."""

    name: str
    port: int
    environment: Mapping[str, str]


def run_workers(arguments: Sequence[str], workers: Sequence[Worker], address: PagesAddress) -> int:
    """Run ``python`` with these arguments for each worker until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigurationError: the port of the parent's pages can't be listened on, or must not be without a secret.
    """
    return asyncio.run(_Parent([sys.executable, *arguments], workers, address).run())


class _Parent:
    """Keeps one child running for each worker, and shows how they are."""

    def __init__(self, command: Sequence[str], workers: Sequence[Worker], address: PagesAddress) -> None:
        self._pages = WorkerPages({worker.name: worker.port for worker in workers}, address)
        self._command = command
        self._workers = workers
        self._children: dict[str, Child] = {}
        self._exit_code = 0

    async def run(self) -> int:
        async with self._pages.serving():
            return await self._run()

    async def _run(self) -> int:
        tasks, stop = SupervisedTasks(), stop_event()
        for worker in self._workers:
            tasks.loop(f"watch over {worker.name}", partial(self._keep_running, worker, stop))
        await tasks.until(stop)
        log.info("workers stopping", workers=len(self._children))
        await tasks.stop()
        await asyncio.gather(*(child.end() for child in self._children.values()))
        return 1 if tasks.failed.done() else self._exit_code

    async def _keep_running(self, worker: Worker, stop: asyncio.Event) -> None:
        """Start a worker again whenever it ends.

        Raises:
            OSError: it can't be started. The supervisor logs it and calls this again after a while.
        """
        restarts = Restarts()
        while True:
            started = time.monotonic()
            child = self._children[worker.name] = Child(worker.name, self._command, env=worker.environment)
            self._pages.running.add(worker.name)
            returncode = await child.ended()
            self._pages.running.discard(worker.name)
            if returncode == EXIT_CONFIGURATION:
                log.error("a worker can't run as it is set up; all are stopped", worker=worker.name)
                self._exit_code = returncode
                stop.set()
            wait_seconds = restarts.wait_seconds(time.monotonic() - started)
            if not stop.is_set():
                log.error(
                    "a worker ended; it is started again",
                    worker=worker.name,
                    pid=child.pid,
                    returncode=returncode,
                    restart_in_seconds=wait_seconds,
                )
            await asyncio.sleep(wait_seconds)
