"""Several collectors on one port: a parent that holds the sockets, and children that accept from them.

Each child has its own listening socket (SO_REUSEPORT), so the kernel spreads connections evenly. The parent has made
the sockets and never closes them while it runs. A connection that waits at the socket of a child which has just ended
is accepted by the next child. If the socket were closed, the kernel would reset it.
"""

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog
from prometheus_client.multiprocess import mark_process_dead

from tracker.collect.metrics import exposition_of_all
from tracker.collect.run.child_process import ChildProcess
from tracker.collect.run.exposure import check_exposure
from tracker.collect.run.listening import listen
from tracker.collect.run.metrics_page import serving_metrics
from tracker.processes.directories import make_directory
from tracker.processes.restarts import Restarts
from tracker.processes.signals import stop_event
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

log = structlog.get_logger()


def run(settings: Settings, overrides: Mapping[str, object]) -> int:
    """Run ``collect_processes`` children until SIGTERM or SIGINT; SIGHUP replaces them without a refused request.

    ``overrides`` are the settings that come neither from the environment nor from the .env file; children read these
    two themselves.

    Returns:
        The exit code: 0 after a stop; that of a child that could not even start.

    Raises:
        ConfigurationError: the port can't be listened on, or must not be without keys.
    """
    check_exposure(settings)
    sockets = [listen(settings) for _ in range(settings.collect_processes)]
    metrics = settings.data_dir / "collect" / "figures"
    shutil.rmtree(metrics, ignore_errors=True)
    make_directory(metrics)
    environment = {f"TRACKER_{name.upper()}": str(value) for name, value in overrides.items() if value is not None}
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics.resolve())
    host, port = settings.collect_host, settings.collect_port
    log.info("collector listening", url=f"http://{host}:{port}", processes=settings.collect_processes)
    return asyncio.run(_run(settings, Parent(sockets, environment, metrics), metrics))


async def _run(settings: Settings, parent: "Parent", metrics: Path) -> int:
    async with serving_metrics(partial(exposition_of_all, metrics), settings):
        return await parent.run()


class Parent:
    """Keeps one child running at each slot."""

    def __init__(
        self, sockets: Sequence[Sequence[socket.socket]], environment: Mapping[str, str], metrics: Path
    ) -> None:
        self._sockets = sockets
        self._environment = {**os.environ, **environment}
        self._metrics = metrics
        self._children: dict[int, ChildProcess] = {}
        self._watches: dict[int, asyncio.Task[None]] = {}
        self._restart_wanted = asyncio.Event()
        self._tasks: SupervisedTasks

    async def run(self) -> int:
        """Run until a signal says stop; return the exit code."""
        self._tasks = tasks = SupervisedTasks()
        stop = stop_event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._restart_wanted.set)
        try:
            children = await self._generation()
        except OSError as error:
            log.error("the collector processes can't be started", error=str(error))
            return 1
        for child in children:
            if not await child.is_ready() and not child.child.was_killed:
                await _stop(children)
                return max(child.child.returncode or 1, 1)
        self._adopt(children)
        tasks.loop("restart on SIGHUP", self._restart_when_told)
        log.info("collector ready", processes=len(children))
        await tasks.until(stop)
        log.info("collector stopping")
        await tasks.stop()
        await _stop(self._children.values())
        return 1 if tasks.failed.done() else 0

    async def _restart_when_told(self) -> None:
        while True:
            await self._restart_wanted.wait()
            self._restart_wanted.clear()
            await self._restart()

    async def _restart(self) -> None:
        """Replace all children; the old ones are stopped only when all new ones accept."""
        log.info("collector restarting")
        try:
            fresh = await self._generation()
        except OSError as error:
            log.error("the restart failed; the old processes go on", error=str(error))
            return
        try:
            is_ready = all([await child.is_ready() for child in fresh])
        except asyncio.CancelledError:
            await _stop(fresh)
            raise
        if not is_ready:
            log.error("the restart failed; the old processes go on")
            await _stop(fresh)
            return
        old = list(self._children.values())
        self._adopt(fresh)
        await _stop(old)
        for child in old:
            self._note_dead(child)
        log.info("collector restarted", processes=len(fresh))

    def _adopt(self, children: Sequence[ChildProcess]) -> None:
        for child in children:
            self._children[child.slot] = child
            if child.slot in self._watches:
                self._watches[child.slot].cancel()
            watch = partial(self._watch, child.slot)
            self._watches[child.slot] = self._tasks.loop(f"watch over collector process {child.slot}", watch)

    async def _watch(self, slot: int) -> None:
        """Start another child whenever the one at a slot ends without a request to stop.

        Raises:
            OSError: it can't be started. The supervisor logs it and calls this again after a while.
        """
        restarts = Restarts()
        while True:
            child = self._children[slot]
            returncode = await child.child.ended()
            self._note_dead(child)
            wait_seconds = restarts.wait_seconds(time.monotonic() - child.started)
            log.error(
                "a collector process ended; another is started",
                pid=child.child.pid,
                returncode=returncode,
                restart_in_seconds=wait_seconds,
            )
            await asyncio.sleep(wait_seconds)
            self._children[slot] = self._start(slot)

    def _note_dead(self, child: ChildProcess) -> None:
        """Take the gauges of a child that has ended out of the metrics."""
        try:
            mark_process_dead(child.child.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        except OSError as error:
            log.warning("the metrics still show a process that has ended", pid=child.child.pid, error=str(error))

    async def _generation(self) -> list[ChildProcess]:
        """Start one child for each slot: all of them, or none.

        Raises:
            OSError: one of them can't be started.
        """
        started: list[ChildProcess] = []
        try:
            for slot in range(len(self._sockets)):
                started.append(self._start(slot))  # noqa: PERF401 - those that have started are stopped
        except OSError:
            await _stop(started)
            raise
        return started

    def _start(self, slot: int) -> ChildProcess:
        return ChildProcess.start(slot, self._sockets[slot], self._environment)


async def _stop(children: Iterable[ChildProcess]) -> None:
    await asyncio.gather(*(child.stop() for child in children))
