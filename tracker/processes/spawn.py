"""A child process that never outlives us and never sees our terminal's Ctrl-C."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from tracker.processes.death_signal import dies_with_parent


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
                    preexec_fn=dies_with_parent(),  # noqa: PLW1509 - only calls prctl, which was looked up before
                )
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            started.set_exception(error)
            return
        started.set_result(child)
        child.wait()

    threading.Thread(target=fork_and_wait, name=f"keeps-{Path(command[0]).name}", daemon=True).start()
    return started.result()
