"""Background tasks that can't end without being noticed.

There are two kinds. A *loop* runs until it is stopped. If it fails with an error that may pass, it is started again
after a wait that doubles, with a line in the log; ``failing`` names the loops that fail again and again. *Work* ends by
itself.

Any other error is a bug, and so is a loop that returns: then ``failed`` ends, and the process has to stop.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tracker.errors import InvariantError, RetryableError

#: The wait before a loop is started again; it doubles with each failure.
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
#: A loop that has run for so long after its last start is sound again.
SOUND_SECONDS: Final = 10.0
#: A loop counts as failing when it has failed so often without being sound in between.
FAILURES_IN_A_ROW: Final = 3

log = structlog.get_logger()


@dataclass(slots=True)
class _Failures:
    """The failures of a loop since it was sound."""

    count: int = 0
    error: str = ""
    last: float = -math.inf

    def note(self, error: Exception, now: float) -> float:
        """Count a failure and return how long to wait before the next start."""
        self.count = 1 if self._is_sound(now) else self.count + 1
        self.error = repr(error)
        self.last = now
        return min(FIRST_BACKOFF_SECONDS * 2.0 ** (self.count - 1), MAX_BACKOFF_SECONDS)

    def is_failing(self, now: float) -> bool:
        return self.count >= FAILURES_IN_A_ROW and not self._is_sound(now)

    def _is_sound(self, now: float) -> bool:
        return now - self.last >= MAX_BACKOFF_SECONDS + SOUND_SECONDS


class SupervisedTasks:
    """The background tasks of a process. Make it in a running loop."""

    def __init__(
        self,
        *,
        restart_on: tuple[type[Exception], ...] = (OSError, RetryableError),
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin without tasks.

        Args:
            restart_on: A loop that fails with one of these errors is started again.
            on_failure: Called with the name of such a loop.
        """
        self._restart_on = restart_on
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[str, _Failures] = {}
        #: Ends with the error of the first task that failed for good.
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(_retrieve)

    @property
    def failing(self) -> Mapping[str, str]:
        """The loops that fail again and again, each with its last error."""
        now = time.monotonic()
        return {name: each.error for name, each in self._failures.items() if each.is_failing(now)}

    def loop(self, name: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run something until ``stop``; start it again when it fails with an error that may pass."""
        return self.run(name, self._loop(name, run))

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run work that ends by itself; any error that it raises is a bug."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def report(self, name: str, error: BaseException) -> None:
        """Note that something failed for good, also if it is no task of this group: the process has to stop."""
        log.error("a background task failed; the process has to stop", task=name, exc_info=error)
        if not self.failed.done():
            self.failed.set_exception(error)

    async def until(self, event: asyncio.Event) -> None:
        """Wait until an event is set, or until a task has failed for good."""
        is_set = asyncio.ensure_future(event.wait())
        either: set[asyncio.Future[Any]] = {is_set, self.failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        is_set.cancel()

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _loop(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        failures = self._failures[name] = _Failures()
        while True:
            try:
                await run()
            except self._restart_on as error:
                backoff_seconds = failures.note(error, time.monotonic())
                self._on_failure(name)
                log.error(
                    "a background task failed; it is started again",
                    task=name,
                    error=failures.error,
                    restart_in_seconds=backoff_seconds,
                )
                await asyncio.sleep(backoff_seconds)
            else:
                raise InvariantError(f"the background task {name!r} has ended, which it never should")

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(task.get_name(), error)


def _retrieve(failed: "asyncio.Future[None]") -> None:
    """Mark the error as retrieved: maybe no task waits for it any more."""
    if not failed.cancelled():
        failed.exception()
