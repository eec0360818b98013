"""A child process that never outlives us and never sees our terminal's Ctrl-C."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def spawn(command: Sequence[str], output: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command whose output goes to a file that is emptied first.

    On Linux the kernel kills the child when the thread that forked it ends, however that happens. So a thread
    of its own forks it and waits for it: the child lives as long as it wants to, or as this process does.

    Raises:
        OSError: if the command can't be started.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def fork_and_wait() -> None:
        try:
            with output.open("wb") as log:
                child = subprocess.Popen(  # noqa: S603 - the command is ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                    preexec_fn=_dies_with_parent(),  # noqa: PLW1509 - only calls prctl, which was looked up before
                )
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            started.set_exception(error)
            return
        started.set_result(child)
        child.wait()

    threading.Thread(target=fork_and_wait, name=f"keeps-{Path(command[0]).name}", daemon=True).start()
    return started.result()


def _dies_with_parent() -> Callable[[], None] | None:
    """Return what the child does between fork and exec, or None where the kernel has no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind_to_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call: nothing would ever tell us
            os.kill(os.getpid(), signal.SIGKILL)

    return bind_to_parent
