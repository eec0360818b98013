"""``tracker dev``: the stack in one terminal, each line of output behind the name of its process."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Final

import typer

from tracker import clock
from tracker.local.stack import KAFKA, STAGES, TINYBIRD, addresses, running_stack
from tracker.processes.supervisor import ChildExited
from tracker.settings import Settings

SYSTEM: Final = "dev"
TERMINATED_EXIT_CODE: Final = 128 + signal.SIGTERM


def run(settings: Settings) -> int:
    """Run everything until Ctrl-C, SIGTERM, or until one process ends by itself.

    Returns:
        The exit code of the process that ended first; 143 after SIGTERM. Ctrl-C raises KeyboardInterrupt.
    """
    return run_until_signalled(_dev(settings))


def run_until_signalled(work: Coroutine[None, None, int]) -> int:
    """Run a coroutine; SIGTERM cancels it as Ctrl-C does, so that it can stop its children in either case."""

    async def supervised() -> int:
        task = asyncio.ensure_future(work)
        terminated = False

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await task
        except asyncio.CancelledError:
            if terminated:
                return TERMINATED_EXIT_CODE
            raise
        except ChildExited as exited:
            typer.echo(f"tracker: {exited}", err=True)
            return exited.exit_code

    return asyncio.run(supervised())


async def _dev(settings: Settings) -> int:
    lines = _PrefixedLines()
    async with running_stack(settings, write_line=lines.write, say=lines.say) as stack:
        for what, address in addresses(settings).items():
            lines.say(f"{what}: {address}")
        lines.say("ready; Ctrl-C stops everything")
        raise await stack.first_exit()


class _PrefixedLines:
    """Prints lines as honcho does: time, coloured name, line."""

    def __init__(self) -> None:
        """Get honcho ready; it is an extra."""
        from honcho.colour import get_colours  # noqa: PLC0415 - only this needs it
        from honcho.printer import Message, Printer  # noqa: PLC0415

        self._message = Message
        colours = get_colours()
        names = (SYSTEM, KAFKA, TINYBIRD, *STAGES)
        self._colours = {name: next(colours) for name in names}
        self._printer = Printer(width=max(map(len, names)), colour="NO_COLOR" not in os.environ)

    def write(self, name: str, line: bytes) -> None:
        now = datetime.fromtimestamp(clock.now_ms() / 1_000, UTC).astimezone()
        self._printer.write(self._message("line", line, now, name, self._colours[name]))

    def say(self, line: str) -> None:
        self.write(SYSTEM, line.encode())
