"""Children that end with their parent, however it ends: the kernel sends them SIGKILL (Linux only)."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def dies_with_parent() -> Callable[[], None] | None:
    """Return what a child does between fork and exec, or None where the kernel has no such thing.

    The signal comes when the *thread* that forked ends, so that thread has to live as long as the child may.
    Everything is looked up before the fork: after it, other threads' locks may be held for ever.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind_to_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call: nothing would ever tell us
            os.kill(os.getpid(), signal.SIGKILL)

    return bind_to_parent
