"""``python -m tests.integration.gone_at_start STAGE``: the stage, whose broker dies in the middle of its start.

``BROKER_PID`` is the broker's process. ``BROKER_DIES`` says when: *after access*, once the check of access has passed,
or *before faust*, once the stage's own clients have started.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from tracker.cli import main as tracker

DYING = ("after access", "before faust")


def kill() -> None:
    os.kill(int(os.environ["BROKER_PID"]), signal.SIGKILL)
    print("the broker is killed", file=sys.stderr, flush=True)


def main() -> None:
    stage: Any = import_module(f"tracker.{sys.argv[1]}.main")
    wait_for_access: Callable[..., Awaitable[None]] = stage.wait_for_access
    serve: Callable[..., Awaitable[None]] = stage.serve
    dies = os.environ["BROKER_DIES"]
    assert dies in DYING, dies

    async def checked(*args: Any) -> None:
        await wait_for_access(*args)
        if dies == "after access":
            kill()

    async def served(*args: Any, **options: Any) -> None:
        if dies == "before faust":
            kill()
        await serve(*args, **options)

    stage.wait_for_access, stage.serve = checked, served
    tracker()


if __name__ == "__main__":
    main()
