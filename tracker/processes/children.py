"""A child process: started, watched and stopped in one way, from threads as from an event loop.

A child never outlives this process, never sees the terminal's Ctrl-C, and reads nothing from standard input.
"""

import asyncio
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

import structlog

from tracker.processes.death_signal import dies_with_parent

#: Between SIGTERM and SIGKILL. A stage that stops cleanly finishes the work that it has accepted: a second or two.
STOP_TIMEOUT_SECONDS: Final = 30.0
#: A line of output that is longer is passed on in parts.
LINE_MAX_BYTES: Final = 65_536

log = structlog.get_logger()


class Child:
    """One child process.

    On Linux the kernel kills the child when the thread that forked it ends, however that happens. So each child has
    a thread that forks it and waits for its end. The thread that asked may end earlier.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        output: Path | int | None = None,
        errors: int = subprocess.STDOUT,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start a child.

        Args:
            name: What log lines call it.
            command: The program and its arguments; no shell reads them.
            env: Its environment; None: this process's.
            output: Where standard output goes: a file, which is emptied first, ``subprocess.PIPE`` for ``lines``, or
                None for this process's own.
            errors: Where standard error goes: ``STDOUT`` (with the output) or ``PIPE``.
            pass_fds: Descriptors that it inherits.

        Raises:
            OSError: the command can't be started.
        """
        self.name = name
        self._ended: Future[int] = Future()
        started: Future[subprocess.Popen[bytes]] = Future()

        def fork_and_wait() -> None:
            try:
                with ExitStack() as files:
                    stdout = files.enter_context(output.open("wb")) if isinstance(output, Path) else output
                    process = subprocess.Popen(  # noqa: S603 - the command is ours
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=stdout,
                        stderr=None if output is None and errors == subprocess.STDOUT else errors,
                        env=env,
                        pass_fds=pass_fds,
                        start_new_session=True,
                        preexec_fn=dies_with_parent(),  # noqa: PLW1509 - only calls prctl, which was looked up before
                    )
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
                started.set_exception(error)
                return
            started.set_result(process)
            self._ended.set_result(process.wait())

        threading.Thread(target=fork_and_wait, name=f"waits-for-{name}", daemon=True).start()
        self._process = started.result()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the number of the signal that killed it, or None while it runs."""
        return self._ended.result() if self._ended.done() else None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it, such as the kernel's when memory is short: it could not say why itself."""
        return (self.returncode or 0) < 0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; a no-op once it has ended."""
        if self.returncode is None:
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would, and wait until it has ended."""
        self.send(signal.SIGKILL)
        self._ended.result()

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Block until it has ended and return its exit code.

        Raises:
            TimeoutError: it still runs.
        """
        return self._ended.result(timeout_seconds)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> int:
        """Let it finish its work, kill it if that takes too long, and return its exit code. Blocks."""
        self.terminate()
        try:
            return self.wait(timeout_seconds)
        except TimeoutError:
            return self._end_now()

    async def ended(self) -> int:
        """Wait until it has ended and return its exit code."""
        return await asyncio.shield(asyncio.wrap_future(self._ended))

    async def end(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> int:
        """Do as ``stop`` does, without blocking the event loop."""
        self.terminate()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.ended()
        except TimeoutError:
            return self._end_now()

    def _end_now(self) -> int:
        log.error("a child process did not end in time; it is killed", name=self.name, pid=self.pid)
        self.kill()
        return self.wait()

    def output_lines(self) -> AsyncIterator[bytes]:
        """Read its piped standard output, line by line, until it closes it."""
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        return _lines(self._process.stdout)

    def error_lines(self) -> AsyncIterator[bytes]:
        """Read its piped standard error, line by line, until it closes it."""
        assert self._process.stderr is not None  # noqa: S101 - it was started with a pipe
        return _lines(self._process.stderr)


async def _lines(pipe: IO[bytes]) -> AsyncIterator[bytes]:
    output = asyncio.StreamReader(limit=LINE_MAX_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), pipe
    )
    try:
        while True:
            try:
                yield await output.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    yield end.partial
                return
            except asyncio.LimitOverrunError as overrun:
                yield await output.readexactly(overrun.consumed)
    finally:
        transport.close()
