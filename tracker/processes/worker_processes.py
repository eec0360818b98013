"""Several workers of a stage on one machine: a parent that runs no work itself, and a child for each worker.

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

#: What a stage exits with when a person has to change something first.
EXIT_CONFIGURATION: Final = 1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker to run: its name in log lines, and its environment."""

    name: str
    environment: Mapping[str, str]


def run_workers(arguments: Sequence[str], workers: Sequence[Worker]) -> int:
    """Run ``python`` with these arguments for each worker until SIGTERM or SIGINT; return the exit code."""
    return asyncio.run(_Parent([sys.executable, *arguments], workers).run())


class _Parent:
    """Keeps one child running for each worker."""

    def __init__(self, command: Sequence[str], workers: Sequence[Worker]) -> None:
        self._command = command
        self._workers = workers
        self._children: dict[str, Child] = {}
        self._exit_code = 0

    async def run(self) -> int:
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
            returncode = await child.ended()
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
