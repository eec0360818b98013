"""Virtual time: an asyncio event loop without a clock or a socket, and processes that can be killed and stopped in it.

Real coroutines run here, on asyncio's own tasks and futures. Nothing happens at random in the loop itself: handles run
in the order in which they became ready. What interleaves how is decided by the latencies that the doubles draw from
the seed, so one seed is one run, down to the last handle.
"""

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any

#: Handles that one run may take; more mean that it turns in circles.
MAX_HANDLES = 3_000_000
#: Fewer tasks are not worth looking for those that are done.
MIN_TASKS = 100


class Killed(BaseException):
    """Thrown where a process ends in the middle of code that can't await. Nothing in production code catches it."""


class Process:
    """One operating system process: whatever runs in its context stops when it is killed or stopped."""

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.is_running = True
        #: Why it ended by itself, if it did.
        self.exit_error: BaseException | None = None
        self.on_end: Callable[[], None] = lambda: None
        self.on_pause: Callable[[], None] = lambda: None
        self._loop = loop
        self._stash: list[Handle] = []
        self.context = contextvars.Context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._loop.create_task(coroutine, context=self.context)

    def call_later(self, delay_seconds: float, callback: Callable[..., Any], *args: Any) -> None:
        self._loop.call_later(delay_seconds, callback, *args, context=self.context)

    def kill(self) -> None:
        """SIGKILL: no handle of it ever runs again."""
        if not self.is_dead:
            self.is_dead, self.is_paused, self.is_running = True, False, False
            self._stash.clear()
            self.on_end()

    def die(self, error: BaseException) -> None:
        """``os._exit`` after an error."""
        if not self.is_dead:
            self.exit_error = error
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: what becomes ready waits."""
        self.is_paused, self.is_running = True, False
        self.on_pause()

    def wake(self) -> None:
        """SIGCONT."""
        self.is_paused, self.is_running = False, True
        self._loop.resume(self._stash)
        self._stash = []

    def stash(self, handle: "Handle") -> None:
        if not self.is_dead:
            self._stash.append(handle)


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
#: The context of brokers, the network and the weather: nobody can stop it.
WORLD = contextvars.Context()


class Handle:
    """What is to be called. asyncio's own handles do more than is needed here, and cost a fifth of a run."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: contextvars.Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class VirtualLoop(asyncio.AbstractEventLoop):
    """Just enough of an event loop for asyncio's tasks, futures, events and time-outs."""

    def __init__(self, max_handles: int = MAX_HANDLES) -> None:
        self._max_handles = max_handles
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._numbers = count()
        #: Kept until they are done or the run ends, so that nothing of a killed process is unwound meanwhile.
        self._tasks: list[asyncio.Task[Any]] = []
        self._look_for_done_tasks_at = MIN_TASKS
        #: What no coroutine of a living process caught.
        self.errors: list[BaseException] = []

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        if len(self._tasks) >= self._look_for_done_tasks_at:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._look_for_done_tasks_at = MIN_TASKS + 2 * len(self._tasks)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing is wrong with a future that nobody asked: its process was killed."""

    def leap(self, seconds: float) -> None:
        """Let time pass in which everything sleeps. What was due meanwhile is due now, once."""
        self._now += seconds

    def resume(self, handles: list[Handle]) -> None:
        self._ready.extend(handles)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run until ``main`` has ended; raise what it raised."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main, context=WORLD.copy())
            self._run_until(task)
            task.result()
        finally:
            asyncio._set_running_loop(None)
            self._forget_tasks()

    def _run_until(self, task: asyncio.Task[None]) -> None:
        """Run what is ready, or else what is due next, until a task is done."""
        ready, timers, process_of = self._ready, self._timers, PROCESS
        for _ in range(self._max_handles):
            if task.done():
                return
            if ready:
                handle = ready.popleft()
            else:
                due, _, handle = heappop(timers)
                self._now = max(self._now, due)
            if handle.is_cancelled:
                continue
            context = handle.context
            process = context.get(process_of)
            if process is not None and not process.is_running:
                process.stash(handle)
                continue
            try:
                context.run(handle.callback, *handle.args)
            except Killed:
                continue
            except Exception as error:  # noqa: BLE001 - it is told with the seed
                self.errors.append(error)
        raise RuntimeError(f"{self._max_handles} handles and no end at {self._now:.3f} s: it turns in circles")

    def _forget_tasks(self) -> None:
        """Coroutines of killed processes that never began would be complained about."""
        for task in self._tasks:
            coroutine = task.get_coro()
            if not task.done() and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:  # type: ignore[arg-type]
                coroutine.close()  # type: ignore[union-attr]
