"""A child of the parent, as the parent sees it: started, ready, stopped."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

from tracker.processes.children import Child

#: From the start of a child to its message that it accepts.
START_TIMEOUT_SECONDS: Final = 60.0
#: Between SIGTERM and SIGKILL: a child answers its requests and waits for Kafka's last acks.
STOP_TIMEOUT_SECONDS: Final = 60.0

_MODULE: Final = "tracker.collect.run.child"


class ChildProcess:
    """One collector process. It writes a byte into a pipe when it accepts connections."""

    def __init__(self, slot: int, child: Child, ready_fd: int) -> None:
        self.slot = slot
        self.child = child
        self.started = time.monotonic()
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ready_fd = ready_fd
        asyncio.get_running_loop().add_reader(ready_fd, self._heard)

    @classmethod
    def start(cls, slot: int, sockets: Sequence[socket.socket], environment: Mapping[str, str]) -> Self:
        """Start a child that accepts from these sockets.

        Raises:
            OSError: it can't be started: there are too many processes, too many open files, or too little memory.
        """
        listening = [bound.fileno() for bound in sockets]
        ready_fd, told_fd = os.pipe()
        command = [sys.executable, "-m", _MODULE, ",".join(map(str, listening)), str(told_fd)]
        try:
            child = Child(f"collect-{slot}", command, env=environment, pass_fds=(*listening, told_fd))
        except (OSError, RuntimeError) as error:  # the latter says that no thread can be started
            os.close(ready_fd)
            raise error if isinstance(error, OSError) else OSError(str(error)) from error
        finally:
            os.close(told_fd)
        return cls(slot, child, ready_fd)

    async def is_ready(self) -> bool:
        """Wait, within a limit, until it accepts; False if it has ended or takes too long."""
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                if await asyncio.shield(self._ready):
                    return True
                await self.child.ended()  # it has closed the pipe, so it is about to end
        except TimeoutError:
            pass
        return False

    async def stop(self) -> None:
        """Let it finish its requests, and wait until it has ended."""
        await self.child.end(STOP_TIMEOUT_SECONDS)

    def _heard(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ready_fd)
        self._ready.set_result(bool(os.read(self._ready_fd, 1)))
        os.close(self._ready_fd)
