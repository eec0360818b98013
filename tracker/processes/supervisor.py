"""Child processes of one parent: started in order, watched together, stopped in order, never left behind."""

import asyncio
import os
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from tracker.errors import RetryableError
from tracker.processes.children import STOP_TIMEOUT_SECONDS, Child

#: Last lines of a child's output that are kept, to show why it ended.
KEPT_LINES: Final = 15

_Result = TypeVar("_Result")

#: Takes a child's name and one line of its output.
LineWriter = Callable[[str, bytes], None]


class ChildExited(RetryableError):  # noqa: N818 - it says what happened; whether that is an error, the caller knows
    """A child ended without a request to stop."""

    def __init__(self, name: str, returncode: int, last_lines: Sequence[str]) -> None:
        super().__init__(f"{name} {_describe(returncode)}: everything else is stopped")
        self.name = name
        self.last_lines = last_lines
        #: What the parent should exit with: never 0, since a part is missing; 128 + N after signal N.
        self.exit_code = 128 - returncode if returncode < 0 else returncode or 1


class Supervisor:
    """Runs children until they are stopped, or until one of them ends by itself.

    Their output, both streams as one, goes line by line to ``write_line``.
    """

    def __init__(
        self, env: Mapping[str, str], write_line: LineWriter, stop_timeout_seconds: float = STOP_TIMEOUT_SECONDS
    ) -> None:
        """Set up a parent whose children get ``env`` on top of this process's environment."""
        self._stop_timeout_seconds = stop_timeout_seconds
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **env}
        self._write_line = write_line
        self._children: dict[str, Child] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._exited: asyncio.Future[ChildExited] = asyncio.get_running_loop().create_future()
        self._stopping = False

    async def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child.

        Raises:
            OSError: the command can't be started.
        """
        child = Child(name, command, env=self._env, output=subprocess.PIPE)
        self._children[name] = child
        self._tasks.append(asyncio.create_task(self._watch(child)))

    async def guard(self, work: Awaitable[_Result]) -> _Result:
        """Return the work's result, unless a child ends first.

        Raises:
            ChildExited: a child ended; the work has been cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            waiting: set[asyncio.Future[Any]] = {task, self._exited}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._exited.done():
                raise self._exited.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def first_exit(self) -> ChildExited:
        """Wait until a child ends by itself."""
        return await asyncio.shield(self._exited)

    async def stop(self, *, last: Sequence[str] = ()) -> None:
        """Stop all children; those in ``last`` only after the others, which need them, have ended."""
        self._stopping = True
        first = [name for name in self._children if name not in last]
        for group in (first, [name for name in self._children if name in last]):
            await asyncio.gather(*(self._children[name].end(self._stop_timeout_seconds) for name in group))
        await asyncio.gather(*self._tasks)

    async def _watch(self, child: Child) -> None:
        last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        async for line in child.output_lines():
            last_lines.append(line.decode(errors="replace").rstrip())
            self._write_line(child.name, line)
        returncode = await child.ended()
        if not self._stopping and not self._exited.done():
            self._exited.set_result(ChildExited(child.name, returncode, tuple(last_lines)))


def _describe(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
