"""No background task ends without being noticed."""

import asyncio

import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.errors import InvariantError, RetryableError
from tracker.processes import supervised_tasks
from tracker.processes.supervised_tasks import FAILURES_IN_A_ROW, SupervisedTasks


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervised_tasks, "FIRST_BACKOFF_SECONDS", 0.001)


class Fails:
    """Fails so often, then runs for ever."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times = times
        self.error = error
        self.runs = 0
        self.is_running = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self.times:
            raise self.error
        self.is_running.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RetryableError("later")])
async def test_a_loop_that_fails_with_an_error_that_may_pass_is_started_again_and_logged(error, capsys):
    tasks = SupervisedTasks()
    work = Fails(2, error)
    tasks.loop("watch", work.run)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await work.is_running.wait()
    assert work.runs == 3
    assert not tasks.failed.done()
    assert capsys.readouterr().out.count("a background task failed; it is started again") == 2
    await tasks.stop()


async def test_only_a_loop_that_fails_again_and_again_is_failing_and_not_for_ever(monkeypatch):
    tasks = SupervisedTasks()
    once, often = Fails(1, OSError("once")), Fails(FAILURES_IN_A_ROW, OSError("often"))
    tasks.loop("once", once.run)
    tasks.loop("often", often.run)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await once.is_running.wait()
        await often.is_running.wait()
    assert tasks.failing == {"often": "OSError('often')"}
    monkeypatch.setattr(supervised_tasks, "SOUND_SECONDS", -supervised_tasks.MAX_BACKOFF_SECONDS)
    assert tasks.failing == {}
    await tasks.stop()


async def returns() -> None:
    """End at once, which no loop does."""


async def has_a_bug() -> None:
    raise KeyError("bug")


@pytest.mark.parametrize(("run", "error"), [(returns, InvariantError), (has_a_bug, KeyError)])
async def test_a_loop_that_ends_or_has_a_bug_ends_the_process(run, error, capsys):
    tasks = SupervisedTasks()
    tasks.loop("watch", run)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await tasks.until(asyncio.Event())
    assert isinstance(tasks.failed.exception(), error)
    assert "the process has to stop" in capsys.readouterr().out
    await tasks.stop()


async def test_work_may_end_but_not_fail():
    tasks = SupervisedTasks()
    await tasks.run("work", returns())
    assert not tasks.failed.done()
    tasks.run("work", has_a_bug())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await tasks.until(asyncio.Event())
    assert tasks.failed.done()


async def test_a_stop_ends_everything_and_is_no_failure():
    tasks = SupervisedTasks()
    work = Fails(0, OSError())
    task = tasks.loop("watch", work.run)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await work.is_running.wait()
        await tasks.stop()
    assert task.cancelled()
    assert not tasks.failed.done()
