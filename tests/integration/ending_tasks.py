"""``python -m tests.integration.ending_tasks STAGE``: the stage, in whose Kafka consumer a task can be ended.

At SIGUSR1 the task that ``ENDED_TASK`` names ends, as after an error of aiokafka's: *coordination*, *fetching* or
*metadata*.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from tracker.cli import main as tracker
from tracker.kafka import aiokafka_internals as internals

#: By their coroutines' names.
TASKS: Final = {
    "coordination": "_coordination_routine",
    "fetching": "_fetch_requests_routine",
    "metadata": "_md_synchronizer",
}


def main() -> None:
    when_a_task_ends, name = internals.when_a_task_ends, TASKS[os.environ["ENDED_TASK"]]
    ends: list[Callable[[], object]] = []

    def watched(consumer: Any, done: Callable[[asyncio.Task[None]], None]) -> None:
        when_a_task_ends(consumer, done)
        loop = asyncio.get_running_loop()  # of the consumer's thread
        (task,) = (task for task in asyncio.all_tasks(loop) if task.get_coro().__name__ == name)
        ends.append(lambda: loop.call_soon_threadsafe(task.cancel))

    def end(*_: object) -> None:
        (end_task,) = ends
        end_task()

    signal.signal(signal.SIGUSR1, end)
    internals.when_a_task_ends = watched
    tracker()


if __name__ == "__main__":
    main()
