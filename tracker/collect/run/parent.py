"""Several collectors on one port: a parent that holds the sockets, and children that accept from them.

Each child has a listening socket of its own (SO_REUSEPORT), so the kernel spreads connections evenly. The sockets are
the parent's: it has made them and never closes them while it runs. So a connection that is queued where a child has
just ended is accepted by the next one, and none is refused or lost, where closing a SO_REUSEPORT socket would reset
what is queued on it.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from tracker.collect.http.server import LISTEN_BACKLOG
from tracker.collect.metrics import exposition_of_all
from tracker.collect.run.exposure import check_exposure
from tracker.collect.run.metrics_page import serving_figures
from tracker.observe.pages import cant_listen
from tracker.processes.children import Child
from tracker.processes.directories import make_directory
from tracker.processes.signals import call_on_stop
from tracker.settings import Settings

#: From the start of a child to its word that it accepts.
START_TIMEOUT_SECONDS: Final = 60.0
#: Between SIGTERM and SIGKILL: a child answers what is under way and waits for Kafka's last acks.
STOP_TIMEOUT_SECONDS: Final = 60.0
#: A child that ends by itself is started again at once; if it ends again and again, after a wait that doubles.
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
#: A child that has lived so long has not failed at its start.
SOUND_SECONDS: Final = 30.0

_MODULE: Final = "tracker.collect.run.child"

_log = structlog.get_logger(__name__)


def run(settings: Settings, overrides: Mapping[str, object]) -> int:
    """Run ``collect_processes`` children until SIGTERM or SIGINT; SIGHUP replaces them without a refused request.

    ``overrides`` are the settings that did not come from the environment or the .env file, which children read anew.

    Returns:
        The exit code: 0 after a stop, that of a child which could not even start.

    Raises:
        ConfigurationError: if the port can't be listened on, or must not be without keys.
    """
    check_exposure(settings)
    sockets = [listen(settings) for _ in range(settings.collect_processes)]
    figures = settings.data_dir / "collect" / "figures"
    shutil.rmtree(figures, ignore_errors=True)
    make_directory(figures)
    environment = {f"TRACKER_{name.upper()}": str(value) for name, value in overrides.items() if value is not None}
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(figures.resolve())
    host, port = settings.collect_host, settings.collect_port
    _log.info("collector listening", url=f"http://{host}:{port}", processes=settings.collect_processes)
    return asyncio.run(_run(settings, Parent(sockets, environment, figures), figures))


async def _run(settings: Settings, parent: "Parent", figures: Path) -> int:
    async with serving_figures(partial(exposition_of_all, figures), settings):
        return await parent.run()


def listen(settings: Settings) -> list[socket.socket]:
    """Return listening sockets that share the port with others of this process, one for each address of the host.

    Raises:
        ConfigurationError: the port can't be listened on.
    """
    host, port = settings.collect_host, settings.collect_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bound(family, address) for family, address in {(item[0], item[4]) for item in found}]
    except OSError as error:
        raise cant_listen(host, port, error, "TRACKER_COLLECT_PORT") from None


#: Addresses that this process listens on: only with itself may it share them.
_ours: Final[set[object]] = set()


def _bound(family: int, address: object) -> socket.socket:
    if address not in _ours:
        # SO_REUSEPORT would quietly share the port with whatever else this user runs there.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)  # type: ignore[arg-type]
        _ours.add(address)
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)  # type: ignore[arg-type]
    bound.listen(LISTEN_BACKLOG)
    return bound


class Acceptor:
    """One collector process, and whether it has said that it accepts."""

    def __init__(self, slot: int, child: Child, ready_fd: int) -> None:
        self.slot = slot
        self.child = child
        self.started = time.monotonic()
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ready_fd = ready_fd
        asyncio.get_running_loop().add_reader(ready_fd, self._heard)

    async def is_ready(self) -> bool:
        """Wait, within a limit, until it accepts; False if it has ended or takes too long."""
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                if await asyncio.shield(self._ready):
                    return True
                await self.child.ended()  # it has closed its end of the pipe, so it is about to end
        except TimeoutError:
            pass
        return False

    async def stop(self) -> None:
        """Let it finish what it has begun, and wait until it has ended."""
        await self.child.end(STOP_TIMEOUT_SECONDS)

    def _heard(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ready_fd)
        self._ready.set_result(bool(os.read(self._ready_fd, 1)))
        os.close(self._ready_fd)


class Parent:
    """Keeps one child at each slot, whatever becomes of them."""

    def __init__(
        self, sockets: Sequence[Sequence[socket.socket]], environment: Mapping[str, str], figures: Path
    ) -> None:
        self._sockets = sockets
        self._environment = {**os.environ, **environment}
        self._figures = figures
        self._acceptors: dict[int, Acceptor] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._restart_wanted = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal says stop; return the exit code."""
        call_on_stop(self._stopping.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._restart_wanted.set)
        first = self._generation()
        for acceptor in first:
            if not await acceptor.is_ready() and not acceptor.child.was_killed:
                await asyncio.gather(*(each.stop() for each in first))
                return max(acceptor.child.returncode or 1, 1)
        self._adopt(first)
        _log.info("collector ready", processes=len(first))
        restarts = asyncio.create_task(self._restart_when_told())
        await self._stopping.wait()
        _log.info("collector stopping")
        restarts.cancel()
        await asyncio.gather(restarts, return_exceptions=True)
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*(acceptor.stop() for acceptor in self._acceptors.values()))
        return 0

    async def _restart_when_told(self) -> None:
        while True:
            await self._restart_wanted.wait()
            self._restart_wanted.clear()
            await self._restart()

    async def _restart(self) -> None:
        """Replace all children; the old ones go only when all new ones accept."""
        _log.info("collector restarting")
        fresh = self._generation()
        try:
            is_ready = all([await acceptor.is_ready() for acceptor in fresh])
        except asyncio.CancelledError:
            await asyncio.gather(*(acceptor.stop() for acceptor in fresh))
            raise
        if not is_ready:
            _log.error("the restart failed; the old processes go on")
            await asyncio.gather(*(acceptor.stop() for acceptor in fresh))
            return
        old = list(self._acceptors.values())
        self._adopt(fresh)
        await asyncio.gather(*(acceptor.stop() for acceptor in old))
        _log.info("collector restarted", processes=len(fresh))

    def _adopt(self, acceptors: Sequence[Acceptor]) -> None:
        for acceptor in acceptors:
            self._acceptors[acceptor.slot] = acceptor
            watch = asyncio.create_task(self._watch(acceptor))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    async def _watch(self, acceptor: Acceptor) -> None:
        """Start a child again that ends although nobody has told it to."""
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while True:
            child = acceptor.child
            returncode = await child.ended()
            mark_process_dead(child.pid, str(self._figures))  # type: ignore[no-untyped-call]
            if self._acceptors.get(acceptor.slot) is not acceptor or self._stopping.is_set():
                return
            if time.monotonic() - acceptor.started > SOUND_SECONDS:
                backoff_seconds = FIRST_BACKOFF_SECONDS
            _log.error(
                "a collector process ended; another is started",
                pid=child.pid,
                returncode=returncode,
                restart_in_seconds=backoff_seconds,
            )
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(2 * backoff_seconds, MAX_BACKOFF_SECONDS)
            if self._acceptors.get(acceptor.slot) is not acceptor:
                return  # a restart has come first
            acceptor = self._acceptors[acceptor.slot] = self._start(acceptor.slot)

    def _generation(self) -> list[Acceptor]:
        return [self._start(slot) for slot in range(len(self._sockets))]

    def _start(self, slot: int) -> Acceptor:
        listening = [bound.fileno() for bound in self._sockets[slot]]
        ready_fd, told_fd = os.pipe()
        command = [sys.executable, "-m", _MODULE, ",".join(map(str, listening)), str(told_fd)]
        try:
            child = Child(f"collect-{slot}", command, env=self._environment, pass_fds=(*listening, told_fd))
        except OSError:
            os.close(ready_fd)
            raise
        finally:
            os.close(told_fd)
        return Acceptor(slot, child, ready_fd)
