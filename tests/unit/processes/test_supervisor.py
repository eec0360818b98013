"""Real child processes: their output, their end, and that none is left behind."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_SECONDS
from tracker.processes.children import LINE_MAX_BYTES
from tracker.processes.supervisor import ChildExited, Supervisor

PROJECT_DIR = Path(__file__).parents[3]
#: Says that it is there, and waits for its end.
PATIENT = "import signal; print('here', flush=True); signal.pause()"
#: Says who it is, and ignores what it is told.
STUBBORN = (
    "import os, signal; signal.signal(15, signal.SIG_IGN); print(os.getpid(), 'here', sep='\\n', flush=True)\n"
    "while True: signal.pause()"
)


class Output:
    """Collects lines and lets a test wait for one."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, name: str, line: bytes) -> None:
        self.lines.append((name, line))
        task = asyncio.create_task(self._notify())
        self._tasks.add(task)

    async def _notify(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    async def wait_for(self, *expected: tuple[str, bytes]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: set(expected) <= set(self.lines))


@pytest.fixture
async def output() -> Output:
    return Output()


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script)


async def test_output_of_both_streams_comes_line_by_line_with_its_name(output: Output) -> None:
    supervisor = Supervisor({}, output.write)
    await supervisor.start("one", python("import sys; print('a'); print('b', file=sys.stderr); print('c', end='')"))
    await supervisor.first_exit()
    assert sorted(output.lines) == [("one", b"a\n"), ("one", b"b\n"), ("one", b"c")]
    await supervisor.stop()


async def test_a_line_beyond_the_limit_comes_in_parts(output: Output) -> None:
    supervisor = Supervisor({}, output.write)
    size = 3 * LINE_MAX_BYTES
    await supervisor.start("long", python(f"print('x' * {size}); print('end')"))
    await supervisor.first_exit()
    await supervisor.stop()
    assert b"".join(line for _, line in output.lines) == b"x" * size + b"\nend\n"


async def test_children_get_the_environment(output: Output) -> None:
    supervisor = Supervisor({"FAVOURITE_COLOUR": "green"}, output.write)
    await supervisor.start("env", python("import os; print(os.environ['FAVOURITE_COLOUR'])"))
    await supervisor.first_exit()
    await supervisor.stop()
    assert output.lines == [("env", b"green\n")]


@pytest.mark.parametrize(
    ("script", "exit_code", "says"),
    [
        ("raise SystemExit(7)", 7, "ended with exit code 7"),
        ("pass", 1, "ended with exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was killed by SIGKILL"),
    ],
)
async def test_the_first_to_end_is_named_with_its_reason(
    output: Output, script: str, exit_code: int, says: str
) -> None:
    supervisor = Supervisor({}, output.write)
    await supervisor.start("patient", python(PATIENT))
    await supervisor.start("brief", python(f"print('last words', flush=True); {script}"))
    exited = await supervisor.first_exit()
    await supervisor.stop()
    assert (exited.name, exited.exit_code, exited.last_lines) == ("brief", exit_code, ("last words",))
    assert says in str(exited)


async def test_guarded_work_is_cancelled_when_a_child_ends(output: Output) -> None:
    supervisor = Supervisor({}, output.write)
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await supervisor.start("brief", python("pass"))
    with pytest.raises(ChildExited, match="brief"):
        await supervisor.guard(endless())
    assert cancelled.is_set()
    await supervisor.stop()


async def test_guarded_work_gives_its_result(output: Output) -> None:
    supervisor = Supervisor({}, output.write)

    async def quick() -> str:
        return "done"

    assert await supervisor.guard(quick()) == "done"


async def test_those_that_others_lean_on_stop_last(output: Output) -> None:
    says_when_told = (
        "import signal, sys; signal.signal(15, lambda *_: (print('stopping', flush=True), sys.exit()));"
        "print('here', flush=True); signal.pause()"
    )
    supervisor = Supervisor({}, output.write)
    for name in ("store", "stage"):
        await supervisor.start(name, python(says_when_told))
    await output.wait_for(("store", b"here\n"), ("stage", b"here\n"))
    await supervisor.stop(last=("store",))
    assert output.lines[-2:] == [("stage", b"stopping\n"), ("store", b"stopping\n")]


async def test_who_ignores_sigterm_is_killed(output: Output) -> None:
    supervisor = Supervisor({}, output.write, stop_timeout_seconds=0.2)
    await supervisor.start("stubborn", python(STUBBORN))
    await output.wait_for(("stubborn", b"here\n"))
    (_, pid), _ = output.lines
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.stop()
    assert not psutil.pid_exists(int(pid))


def test_children_do_not_survive_a_parent_that_was_killed() -> None:
    parent = f"""
import asyncio, sys
from tracker.processes.supervisor import Supervisor
async def main():
    supervisor = Supervisor({{}}, lambda name, line: print(line.decode(), end="", flush=True))
    await supervisor.start("child", (sys.executable, "-c", {"import os; print(os.getpid(), flush=True);" + PATIENT!r}))
    await supervisor.first_exit()
asyncio.run(main())
"""
    with subprocess.Popen(python(parent), stdout=subprocess.PIPE, text=True, cwd=PROJECT_DIR) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        watched = os.pidfd_open(child)
        process.send_signal(signal.SIGKILL)
    # A pidfd becomes readable when its process has ended.
    ended, _, _ = select.select([watched], [], [], PATIENCE_SECONDS)
    os.close(watched)
    assert ended
